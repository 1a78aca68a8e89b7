"""Which stations a bulk command goes to, and whether what is started is what was previewed."""

import pytest
from starlette.datastructures import QueryParams

from services.api.domain.errors import NotFound
from services.console.bulk import MOST_NAMED, chosen, digest_of
from services.console.editing import Sent
from services.console.pages.bulk import go_back

SEEN = {"payload.type": "Soft", "send.v16": "1", "reason": "test"}


TOO_MANY = "&".join(f"station=s{number}" for number in range(MOST_NAMED + 1))


@pytest.mark.parametrize("query", ["connected=perhaps&q=a", "ticked=1", TOO_MANY])
def test_what_chooses_no_clear_set_of_stations_is_unfit(query: str) -> None:
    assert chosen(QueryParams(query)).unfit
    assert not chosen(QueryParams("q=a")).unfit


def test_stations_that_are_named_twice_count_once() -> None:
    named = chosen(QueryParams([("station", f"s{n % MOST_NAMED}") for n in range(2 * MOST_NAMED)]))
    assert (len(named.stations), named.unfit) == (MOST_NAMED, False)


def test_only_what_was_previewed_is_started() -> None:
    here, there = chosen(QueryParams("q=a")), chosen(QueryParams("q=b"))
    seen = digest_of(here, Sent(SEEN, ours=True))
    again = {**SEEN, "expected": "3", "previewed": seen, "start": "1", "_once": "x", "empty": " "}
    assert digest_of(here, Sent(again, ours=True)) == seen
    assert digest_of(here, Sent({**SEEN, "reason": "other"}, ours=True)) != seen
    assert digest_of(here, Sent({**SEEN, "send.v21": "1"}, ours=True)) != seen
    assert digest_of(there, Sent(SEEN, ours=True)) != seen


@pytest.mark.parametrize("action", ["stop", "resume", "retry"])
async def test_the_address_of_a_refused_form_leads_to_its_page(action: str) -> None:
    assert (await go_back("b/1", action)).headers["location"] == "/bulk/b%2F1"
    with pytest.raises(NotFound):
        await go_back("b/1", "other")
