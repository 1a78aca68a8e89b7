"""How ids of tokens are compared: without regard to case."""

MAX_TOKEN_LENGTH = 255


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
