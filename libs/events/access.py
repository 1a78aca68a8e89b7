"""Who may use the platform: accounts of people, keys of programs, and sign-ins.

One class per Avro schema of the same name; the schemas carry each field's meaning and unit.
"""

from libs.events.record import NestedRecord, Record


class AccessGrant(NestedRecord, frozen=True, kw_only=True):
    """A role in an organisation, as `libs.access` names them. A role that is not known permits nothing."""

    role: str
    organisation_id: str = "*"


class AccountDefined(Record, frozen=True, kw_only=True):
    """A person's account. Of the password only a hash."""

    account_id: str
    display_name: str = ""
    password_hash: str | None = None
    grants: tuple[AccessGrant, ...] = ()
    disabled: bool = False
    valid_after: int = 0
    changed_by: str = ""
    issuer: str = ""
    subject: str = ""


class KeyDefined(Record, frozen=True, kw_only=True):
    """A key of a program or person. Of its secret only a digest."""

    key_id: str
    digest: str
    name: str
    grants: tuple[AccessGrant, ...] = ()
    expires_at: int | None = None
    revoked: bool = False
    note: str = ""
    created_at: int
    changed_by: str = ""


class SignedIn(Record, frozen=True, kw_only=True):
    """A person has signed in at a browser, which has the token that `sign_in_id` is the digest of."""

    sign_in_id: str
    account_id: str
    signed_in_at: int
    authenticated_at: int
    expires_at: int
    address: str = ""
    user_agent: str = ""


class ViewSaved(Record, frozen=True, kw_only=True):
    """A list of the console as a person wants to see it again."""

    view_id: str
    account_id: str
    page: str
    name: str
    query: str
