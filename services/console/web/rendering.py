"""Templates filled in for one visitor. Whatever a charger or driver named itself is shown as text."""

import json
import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER: Final = Path(__file__).resolve().parents[1] / "templates"

_HIDDEN: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff]"
)
"""Characters that nobody sees and that may change how others are read."""


def visible(text: str) -> str:
    """`text` with hidden characters, such as marks that turn its direction, written out."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", unicodedata.normalize("NFC", text))


def shown(value: Any) -> Any:
    """What stands on a page for a value of a template: nothing hidden in it, "" for None."""
    if value is None:
        return ""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return visible(value)


def isolated(value: Any) -> Markup:
    """Text of somebody else's, whose direction does not spread to what stands around it."""
    return Markup("<bdi>{}</bdi>").format(shown(value))


def as_json(value: Any) -> str:
    """JSON that people read: other scripts stay as they are."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    # Half a character cannot be sent.
    return text.encode("utf-8", "backslashreplace").decode()


def address(path: str, values: dict[str, Any], **changes: Any) -> str:
    """`path` with those query parameters, `changes` over them; None and "" are left out."""
    merged = {name: value for name, value in {**values, **changes}.items() if value not in (None, "")}
    return f"{path}?{urlencode(merged, doseq=True)}" if merged else path


def path_of(*parts: str) -> str:
    """The path made of these, whatever characters are in them."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def environment() -> Environment:
    """The templates."""
    found = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    found.filters["isolated"] = isolated
    found.filters["as_json"] = as_json
    found.filters["from_timestamp"] = lambda seconds: datetime.fromtimestamp(seconds, UTC)
    found.filters["zip"] = zip
    found.tests["match_total"] = lambda name: str(name).startswith("total_")
    found.globals["address"] = address
    return found
