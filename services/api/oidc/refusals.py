"""Why nobody is signed in."""

from enum import StrEnum

from services.api.http.problems import Unavailable


class Reason(StrEnum):
    """What is wrong with what a browser, a command line or the provider sent."""

    STATE = "state"
    """The answer belongs to no sign-in that this browser began, or to one begun too long ago."""
    REPLAYED = "replayed"
    """It was used before."""
    DECLINED = "declined"
    """The provider says that it did not sign the person in."""
    ISSUER = "issuer"
    CODE = "code"
    """The provider does not take the code."""
    TOKEN = "token"  # noqa: S105
    """No ID token, or none that can be read."""
    ALGORITHM = "algorithm"
    KEY = "key"
    """Signed with a key that the provider does not publish."""
    SIGNATURE = "signature"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    FUTURE = "future"
    OLD = "old"
    """Issued before it was asked for, or too long ago."""
    NONCE = "nonce"
    NOT_FRESH = "not_fresh"
    """A fresh sign-in was asked for, and this is none."""
    OTHER_PERSON = "other_person"
    """A fresh sign-in, of somebody else."""
    USER_INFO = "user_info"
    ACCOUNT = "account"
    """There is no account for this person, or it may not be used in this way."""
    GROUPS = "groups"
    """None of the person's groups has a role."""


class ProviderUnavailable(Unavailable):
    """The provider cannot be asked now, or its answers cannot be used; the text names no secret."""
