"""How ids are compared: stations and tokens without regard to case, everything else as written."""

from urllib.parse import quote

from libs.ocpp.versions import station_id_from_path

MAX_TOKEN_LENGTH = 255


def station_identity(text: str) -> str:
    """The id under which the edge knows a charger that connects as `text`.

    Raises ValueError for what no charger can connect as, and for a slash, which URLs of this API cannot carry.
    """
    if "/" in text or text in {".", ".."}:
        raise ValueError("a station id holds no slash and is not '.' or '..'")
    if text != text.strip():
        raise ValueError("a station id does not begin or end with white space")
    return station_id_from_path(f"/{quote(text, safe='')}").casefold()


def token_identity(text: str) -> str:
    """The id under which an id token is authorised (OCPP CiString: any case).

    Raises ValueError for an empty or too long one, and one with control characters or white space at its ends.
    """
    if not 1 <= len(text) <= MAX_TOKEN_LENGTH:
        raise ValueError(f"an id token has 1 to {MAX_TOKEN_LENGTH} characters")
    if not text.isprintable() or text != text.strip():
        raise ValueError("an id token is printable and does not begin or end with white space")
    return text.casefold()


def written_token(text: str) -> str:
    """`text` as it is, if it can be an id token. Raises ValueError like `token_identity`."""
    token_identity(text)
    return text
