"""Every charge record of every history that the sessions' golden files tell is found to follow from its evidence."""

from __future__ import annotations

from random import Random

import pytest

from libs.events.registry import SiteRegistered, TariffRegistered
from libs.events.sessions import CdrCredited, CdrIssued
from libs.ocpp.semantics.received_calls import zone_named
from services.sessions.audit.checks import Priced, chain_faults, checks
from services.sessions.audit.text import explained
from tests.unit.sessions.exchanges import DAY, NOON
from tests.unit.sessions.given import Told, registry
from tests.unit.sessions.history import Added, History
from tests.unit.sessions.test_golden import HISTORIES, told
from tests.unit.sessions.truthful import channel, truth

VERSIONS = ("ocpp1.6", "ocpp2.0.1", "ocpp2.1")


def priced_of(history: History, cdr: CdrIssued) -> Priced | None:
    tables = history.tables()
    site = tables["registry.sites"].get(cdr.site_id or "")
    tariff = tables["registry.tariffs"].get(cdr.tariff_id or "")
    if not isinstance(site, SiteRegistered) or not isinstance(tariff, TariffRegistered):
        return None
    added = [each.version for each in history.happenings() if isinstance(each, Added)]
    (version,) = [each for each in (*tariff.versions, *added) if each.version == cdr.tariff_version]
    return Priced(version, getattr(zone_named(site.timezone), "key", "UTC"))


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.name)
def test_every_record_is_verified(history: History) -> None:
    documents = [each for each in told(history) if isinstance(each, CdrIssued | CdrCredited)]
    assert list(chain_faults(documents)) == []
    for number, cdr in enumerate(documents):
        if not isinstance(cdr, CdrIssued):
            continue
        own = [each for each in documents[: number + 1] if each.session_id == cdr.session_id]
        priced = priced_of(history, cdr)
        found = checks(cdr, own, True, priced)
        assert [each for each in found if not each.holds] == []
        assert list(explained(cdr, own, found, priced))[-1] == "verified"


@pytest.mark.parametrize("seed", range(45))
def test_so_is_every_record_of_random_sessions_of_which_messages_are_lost(seed: int) -> None:
    random = Random(seed)
    version = VERSIONS[seed % len(VERSIONS)]
    told_truth = truth(random, random.randint(1, 4), version, NOON)
    station = Told([each for each in channel(random, told_truth, version, NOON) if random.random() > 0.15])
    station.tick(NOON + 60 * DAY)
    tariff = registry()["registry.tariffs"]["flat"]
    assert isinstance(tariff, TariffRegistered)
    for number, cdr in enumerate(station.documents):
        if isinstance(cdr, CdrIssued):
            own = [d for d in station.documents[: number + 1] if d.session_id == cdr.session_id]
            found = checks(cdr, own, True, Priced(tariff.versions[0], "UTC"))
            assert [each for each in found if not each.holds] == []
