"""Forms that change something: what was typed, what came of it, and what changed meanwhile. Nothing typed is lost."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from datetime import datetime
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile

from libs.access.roles import Permission
from libs.bus.errors import BusUnavailableError
from libs.clickhouse.client import ClickHouseError
from libs.runtime.logging import get_logger
from services.api.domain.errors import Conflict, Forbidden, Invalid, NotFound, Outdated, Refusal, TooMany
from services.api.http.problems import STATUS_OF, Unavailable
from services.console.forms import FormError, FormField, Kind, fields_of, payload_of
from services.console.web.visit import Visit

log = get_logger(__name__)

T = TypeVar("T")

WAS: Final = "_was."
"""Before the name of a field: what it had when the form was made."""
_MOST_PARTS: Final = 2_000
_LONGEST_KEY: Final = 100


class Change(msgspec.Struct, frozen=True):
    """A field that somebody else changed: `was`, as the form began; `now`; `typed`, "" if this visitor did not."""

    label: str
    was: str
    now: str
    typed: str = ""


class SeveralWrong(ValueError):
    """What was entered cannot be: what is wrong, by field."""

    def __init__(self, wrong: Mapping[str, str]) -> None:
        super().__init__("; ".join(wrong.values()))
        self.wrong = wrong


class Trouble(msgspec.Struct, frozen=True):
    """Why nothing was done: by field, "" for what no field is to blame for. `stale`: a fresh sign-in is needed."""

    wrong: Mapping[str, str]
    status: int = HTTPStatus.UNPROCESSABLE_ENTITY
    stale: bool = False
    outdated: bool = False


class Form(msgspec.Struct, frozen=True):
    """A form as it is shown. `tag`: the version of the entry that it was made of, "" for a new one.

    `was`: by field what the entry had then. `suggested`: by field what may be chosen. `once`: the form's own key.
    """

    fields: tuple[FormField, ...]
    entered: Mapping[str, str] = {}
    was: Mapping[str, str] = {}
    tag: str = ""
    trouble: Trouble = Trouble({}, HTTPStatus.OK)
    changes: tuple[Change, ...] = ()
    suggested: Mapping[str, tuple[str, ...]] = {}
    once: str = ""

    @property
    def faults(self) -> list[tuple[str, str, str]]:
        """Id of the field, its label and what is wrong, in the order of the form; what has no field comes first."""
        named = {field.name: field.label for field in self.fields}
        wrong = self.trouble.wrong
        loose = [("", name, text) for name, text in wrong.items() if name not in named]
        return loose + [(name, label, wrong[name]) for name, label in named.items() if name in wrong]


class Sent:
    """A form that was sent. `ours`: it is one of this very sign-in; nothing is done for another."""

    def __init__(self, texts: Mapping[str, str], *, ours: bool) -> None:
        self.ours = ours
        self.tag = texts.get("_tag", "")
        self.once = texts.get("_once", "")
        self.was = {name.removeprefix(WAS): text for name, text in texts.items() if name.startswith(WAS)}
        self.entered = {name: text for name, text in texts.items() if not name.startswith("_")}

    @property
    def if_match(self) -> str | None:
        """The header for the version that the form was made of."""
        return f'"{self.tag}"' if self.tag else None

    def changed(self, fields: Iterable[FormField], together: Mapping[str, str]) -> dict[str, Any]:
        """What differs from what the entry had: a body for PATCH. What was emptied is null, or "" where null is none.

        `together`: fields that mean nothing without another one. Raises FormError.
        """
        named = {field.name: field for field in fields}
        touched = {name for name in named if self.text(name) != self.was.get(name, "")}
        touched |= {together[name] for name in touched if name in together}
        chosen = tuple(named[name] for name in named if name in touched)
        payload = payload_of(chosen, self.entered)
        for field in chosen:
            if not self.text(field.name):
                payload[field.name] = "" if field.kind is Kind.TEXT and not field.nullable else None
        return payload

    def text(self, name: str) -> str:
        """What stands in the field, without blanks around it."""
        return self.entered.get(name, "").strip()


async def sent(visit: Visit) -> Sent:
    """The form that the request has. Files in it are nothing."""
    form = await visit.request.form(max_fields=_MOST_PARTS, max_files=0)
    # Browsers send a line's end as two characters.
    texts = {
        name: value.replace("\r\n", "\n") for name, value in form.items() if not isinstance(value, UploadFile)
    }
    ours = True
    try:
        visit.check_form(texts.pop("_form", ""))
    except Invalid:
        ours = False
    return Sent(texts, ours=ours)


async def tried(
    visit: Visit, given: Sent, permission: Permission, do: Callable[[], Awaitable[T]]
) -> T | Trouble:
    """What `do` returns, or why it was not done. `permission`: what the route of the API needs."""
    _ = visit.words.text
    if not given.ours:
        wrong = _("The form is of an earlier sign-in. Look at it, and send it again.")
        return Trouble({"": wrong}, HTTPStatus.CONFLICT)
    try:
        visit.must(permission)
        return await do()
    except (FormError, SeveralWrong, ValidationError) as error:
        return Trouble(_faults(error, _("This is not what the field is for.")))
    except Outdated:
        wrong = _("Somebody changed this since you opened it. Nothing of yours was written yet.")
        return Trouble({"": wrong}, HTTPStatus.PRECONDITION_FAILED, outdated=True)
    except (Conflict, Forbidden, Invalid, NotFound, TooMany) as error:
        stale = isinstance(error, Forbidden) and visit.is_stale(Permission(error.permission))
        return Trouble({name_of(error): error.detail}, STATUS_OF[type(error)], stale)
    except (BusUnavailableError, ClickHouseError, Unavailable) as error:
        log.warning("form_unavailable", path=visit.request.url.path, error=str(error)[:300])
        wrong = _("Nobody knows whether it was written. Look, or send it again.")
        if isinstance(error, Unavailable):
            wrong = _("This cannot be done now. Send it again in a while.")
        return Trouble({"": wrong}, HTTPStatus.SERVICE_UNAVAILABLE)


def shown_again(form: Form, given: Sent, trouble: Trouble) -> Form:
    """The form with what was typed in it and what is wrong."""
    return replace(
        form,
        entered=given.entered,
        was=given.was,
        tag=given.tag,
        trouble=trouble,
        once=given.once[:_LONGEST_KEY],
    )


def merged(form: Form, given: Sent, trouble: Trouble) -> Form:
    """The same for a form whose entry somebody changed: `form` is made of the entry as it is now.

    What the visitor did not touch has the new values, and what he typed stays.
    """
    entered, changes = dict(form.was), []
    for field in form.fields:
        was, now, typed = given.was.get(field.name, ""), form.was.get(field.name, ""), given.text(field.name)
        mine = typed != was
        if mine:
            entered[field.name] = given.entered.get(field.name, "")
        if was != now:
            changes.append(Change(field.label, was, now, typed if mine else ""))
    return replace(form, entered=entered, trouble=trouble, changes=tuple(changes))


def fields_for(model: type[BaseModel], labels: Mapping[str, str]) -> tuple[FormField, ...]:
    """The inputs for these fields of a body of the API, by their names, with the words that stand beside them."""
    schema = model.model_json_schema()
    known = {field.name: field for field in fields_of(schema)}
    return tuple(
        replace(known[name], title=label, group="") for name, label in labels.items() if name in known
    )


def defaults_of(model: type[BaseModel], names: Collection[str]) -> dict[str, str]:
    """What stands in a form for a new entry."""
    found = {name: each.get_default() for name, each in model.model_fields.items() if name in names}
    return {
        name: text_of(value) for name, value in found.items() if not model.model_fields[name].is_required()
    }


def text_of(value: Any) -> str:
    """A value as it stands in an input."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case Enum():
            return str(value.value)
        case datetime():
            return value.isoformat()
        case str() | int() | float():
            return str(value)
        case _:
            return msgspec.json.encode(value).decode()


def name_of(error: Refusal) -> str:
    """The field that is to blame, "" if none is."""
    return (error.path or "").strip("/").replace("/", ".")


def _faults(error: FormError | SeveralWrong | ValidationError, unreadable: str) -> dict[str, str]:
    if isinstance(error, FormError):
        return {error.name: unreadable}
    if isinstance(error, SeveralWrong):
        return dict(error.wrong)
    wrong: dict[str, str] = {}
    for each in error.errors():
        name = ".".join(str(part) for part in each["loc"])
        wrong.setdefault(name, each["msg"].removeprefix("Value error, "))
    return wrong
