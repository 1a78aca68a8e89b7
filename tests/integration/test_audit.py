"""The audit trail on real servers: whatever is done has its event, also if the process is killed in between."""

import httpx
import pytest

from libs.bus.tail import read_all
from libs.events.audit import AuditKind, AuditOutcome, AuditPrincipalKind, AuditRecorded
from libs.events.audit_chain import check
from libs.events.topics import AUDIT_EVENTS
from tests.integration.api_platform import ANNAS_KEY, Platform, another, api, ok
from tests.integration.test_api_two import PRICE, child
from tests.patience import until

__all__ = ["api"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def trail(api: Platform) -> list[AuditRecorded]:
    found = [message.record async for message in read_all(api.bus, AUDIT_EVENTS)]
    return [each for each in found if isinstance(each, AuditRecorded)]


async def of_request(api: Platform, answer: httpx.Response, outcome: AuditOutcome) -> list[AuditRecorded]:
    """The events of the request that was answered so, once it is told what came of it."""

    async def told() -> list[AuditRecorded]:
        found = [each for each in await trail(api) if each.request_id == answer.headers["request-id"]]
        return found if any(each.outcome is outcome for each in found) else []

    found: list[AuditRecorded] = await until(told)
    return found


async def test_what_is_done_is_in_the_trail_and_the_chain_is_sound(api: Platform) -> None:
    answer = await api.http.put("/sites/audited", json={"name": "Audited"}, headers={"Reason": "a new site"})
    await ok(answer, 201)
    started, done = await of_request(api, answer, AuditOutcome.DONE)
    assert (started.outcome, started.action) == (AuditOutcome.STARTED, "PUT /sites/{site_id}")
    assert (done.status, done.subject_kind, done.subject_id) == (201, "site", "audited")
    assert (done.principal_kind, done.permission) == (AuditPrincipalKind.BOOTSTRAP, "edit_stations")
    assert (done.reason, done.address) == ("a new site", "127.0.0.1")
    shown = await api.http.get("/tokens", params={"q": "card"})
    (read,) = await of_request(api, shown, AuditOutcome.DONE)
    assert (read.permission, read.query) == ("read_tokens", "q=card")
    refused = await api.http.put(
        "/tariffs/audited", json=PRICE, headers={"Authorization": f"Bearer {ANNAS_KEY}"}
    )
    (refusal,) = await of_request(api, refused, AuditOutcome.REFUSED)
    assert (refusal.status, refusal.permission, refusal.principal) == (403, "edit_tariffs", "anna")
    plain = await ok(await api.http.get("/sites/audited"))
    assert plain["name"] == "Audited"
    events = await trail(api)
    assert events[0].kind is AuditKind.CHAIN_STARTED
    assert check(events).sound
    assert not check([each for each in events if each != done]).sound


async def test_the_change_of_a_process_that_was_killed_has_its_event(api: Platform) -> None:
    async with child(api, "tests.integration.api_killed", "after", "1") as (http, process):
        with pytest.raises(httpx.TransportError):
            await http.put("/tariffs/killed", json=PRICE)
        process.wait()
    async with another(api) as http:
        await ok(await http.get("/tariffs/killed"))
        # Its chain begins with its first event, and names the end of the one that was killed.
        await ok(await http.put("/sites/after", json={"name": "After"}), 201)
    events = await trail(api)
    (left,) = [each for each in events if each.subject_id == "killed"]
    assert left.outcome is AuditOutcome.STARTED
    assert check(events).sound
    assert check([*events, *events]).sound
    assert not check([each for each in events if each is not left]).sound
