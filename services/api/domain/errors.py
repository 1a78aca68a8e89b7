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


class NotFound(Refusal):
    """What the request names does not exist."""
