"""The key of who signed in at the command line, kept in a file of its owner."""

import os
from pathlib import Path
from typing import Final

import msgspec

from services.cli.client import CliError

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


class SignedIn(msgspec.Struct, frozen=True):
    """A key of the API. `expires_at`: RFC 3339."""

    account_id: str
    expires_at: str
    key: str


def place() -> Path:
    """Where it is kept: `voltbus/sign-in.json` in `$XDG_CONFIG_HOME`, or `~/.config`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "voltbus" / "sign-in.json"


def kept() -> dict[str, SignedIn]:
    """Keys by the address of the API that they are for. Raises CliError for a file that cannot be read."""
    path = place()
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, SignedIn])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        raise CliError(f"{path} cannot be read ({error}): remove it, then `voltbus login`") from error


def keep(url: str, signed_in: SignedIn | None) -> None:
    """Keep a key for this API, or none, for the file's owner alone. Raises CliError if that cannot be done."""
    path, known = place(), {**kept()}
    known.pop(url, None)
    if signed_in is not None:
        known[url] = signed_in
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        # Nobody can read it at any moment, and who reads it meanwhile has the old one or the new one.
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(known)))
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise CliError(f"{path} cannot be written ({error})") from error


def key_for(url: str) -> str:
    """The key of who signed in to the API at this address, "" for nobody."""
    found = kept().get(url.rstrip("/"))
    return "" if found is None else found.key
