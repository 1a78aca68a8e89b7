"""Why a request is refused."""


class Refusal(Exception):
    """A request that cannot be done as it is; `path` is the JSON pointer of what is wrong, if one thing is."""

    def __init__(self, detail: str, path: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.path = path


class Invalid(Refusal):
    """The request itself is wrong: repeated, it is refused again."""


class Conflict(Refusal):
    """The request does not fit what is there now."""


class Outdated(Refusal):
    """What is there now is not what the request was made for."""


class TooMany(Refusal):
    """There is no room for it now."""


class Forbidden(Refusal):
    """Who asks may not do this; `permission` is what is missing."""

    def __init__(self, detail: str, permission: str, path: str | None = None) -> None:
        super().__init__(detail, path)
        self.permission = permission


class SignInRefused(Refusal):
    """A name and password that do not fit; why is not told."""

    def __init__(self) -> None:
        super().__init__("the name or the password is wrong")


class IdentityRefused(Refusal):
    """Somebody comes from the OpenID provider and is not signed in. `reason`: one word; `note`: for the log."""

    def __init__(self, reason: str, note: str = "") -> None:
        super().__init__(f"the sign-in at the provider is refused: {reason}")
        self.reason = reason
        self.note = note


class NotFound(Refusal):
    """What the request names does not exist."""
