"""Charging sessions as the edge records them: what the sessions processor folds.

A session is a start, a meter value each minute for twenty minutes and a stop; every second station speaks OCPP 1.6,
the others 2.0.1. Stations go on with their next session five minutes later. The tariff is the contract's example of
one with a price of the day and one of the night, a fee, a price of idling, and tax; about one session in five goes
over the boundary between day and night.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from libs.events.ids import new_id
from libs.events.ocpp_log import OcppCallReceived
from libs.events.record import Record
from libs.events.registry import (
    Assignment,
    PowerRating,
    SiteRegistered,
    StationRegistered,
    TariffRegistered,
)
from libs.events.topics import REGISTRY_SITES, REGISTRY_STATIONS, REGISTRY_TARIFFS
from libs.ocpp.times import format_timestamp
from libs.runtime.clock import SECOND

TARIFF: Final = Path("proto_schemas/examples/TariffRegistered/day-night.json")
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
METER_VALUES: Final = 20
MESSAGES: Final = METER_VALUES + 2
"""Of a session."""
SITES: Final = 50
EVERY: Final = (METER_VALUES + 5) * MINUTE
WH_A_MINUTE: Final = 183

_REGISTER: Final = '"measurand":"Energy.Active.Import.Register"'
_MORE_16: Final = (
    '{"value":"10980","measurand":"Power.Active.Import","unit":"W"},'
    '{"value":"15.9","measurand":"Current.Import","unit":"A","phase":"L1"}'
)
_MORE_2: Final = (
    '{"value":10980,"measurand":"Power.Active.Import","unitOfMeasure":{"unit":"W"}},'
    '{"value":15.9,"measurand":"Current.Import","unitOfMeasure":{"unit":"A"},"phase":"L1"}'
)


def station_name(number: int) -> str:
    return f"station-{number:06}"


def registry(stations: int) -> Iterator[tuple[str, str, Record]]:
    """Topic, key and record of everything that operators configured."""
    tariff = msgspec.convert(json.loads(TARIFF.read_text()), TariffRegistered)
    versions = tuple(msgspec.structs.replace(version, valid_from=0) for version in tariff.versions)
    yield REGISTRY_TARIFFS, tariff.tariff_id, msgspec.structs.replace(tariff, versions=versions)
    for number in range(SITES):
        site = SiteRegistered(
            **_envelope(0), site_id=f"site-{number}", timezone="UTC",
            tariffs=(Assignment(id=tariff.tariff_id, valid_from=0),),
        )  # fmt: skip
        yield REGISTRY_SITES, site.site_id, site
    for number in range(stations):
        station = StationRegistered(
            **_envelope(0), station_id=station_name(number),
            sites=(Assignment(id=f"site-{number % SITES}", valid_from=0),),
            power_ratings=(PowerRating(power_w=11_040, valid_from=0),),
        )  # fmt: skip
        yield REGISTRY_STATIONS, station.station_id, station


def traffic(stations: int, events: int, now: int) -> Iterator[OcppCallReceived]:
    """`events` exchanges in the order of their time, of the last evening before `now` (microseconds)."""
    # Nine in the evening, an hour before the night of the tariff begins.
    evening = (now - 6 * HOUR) // DAY * DAY - 3 * HOUR
    written = turn = 0
    while True:
        session, message = divmod(turn, MESSAGES)
        for number in range(stations):
            if written == events:
                return
            at = evening + session * EVERY + message * MINUTE + number * 20_000
            yield (_exchange_16 if number % 2 == 0 else _exchange_2)(number, session, message, at)
            written += 1
        turn += 1


def _exchange_16(number: int, session: int, message: int, at: int) -> OcppCallReceived:
    stamp, answer = format_timestamp(at), "{}"
    transaction = number * 1000 + session + 1
    wh = (session * (MESSAGES - 1) + message) * WH_A_MINUTE
    if message == 0:
        action = "StartTransaction"
        payload = f'{{"connectorId":1,"idTag":"TAG-{number}","timestamp":"{stamp}","meterStart":{wh}}}'
        answer = f'{{"transactionId":{transaction},"idTagInfo":{{"status":"Accepted"}}}}'
    elif message <= METER_VALUES:
        action = "MeterValues"
        payload = (
            f'{{"connectorId":1,"transactionId":{transaction},"meterValue":[{{"timestamp":"{stamp}",'
            f'"sampledValue":[{{"value":"{wh}",{_REGISTER},"unit":"Wh","context":"Sample.Periodic"}},{_MORE_16}]}}]}}'
        )
    else:
        action = "StopTransaction"
        payload = (
            f'{{"transactionId":{transaction},"timestamp":"{stamp}","meterStop":{wh},"idTag":"TAG-{number}",'
            f'"reason":"EVDisconnected"}}'
        )
    return _call(number, "ocpp1.6", action, payload, answer, at)


def _exchange_2(number: int, session: int, message: int, at: int) -> OcppCallReceived:
    stamp = format_timestamp(at)
    wh = (session * (MESSAGES - 1) + message) * WH_A_MINUTE
    kind, trigger, context, more, ending = (
        "Updated",
        "MeterValuePeriodic",
        "Sample.Periodic",
        f",{_MORE_2}",
        "",
    )
    if message == 0:
        kind, trigger, context, more = "Started", "Authorized", "Transaction.Begin", ""
    elif message > METER_VALUES:
        kind, trigger, context, more = "Ended", "EVDeparted", "Transaction.End", ""
        ending = ',"stoppedReason":"EVDisconnected"'
    token = "" if kind == "Updated" else f',"idToken":{{"idToken":"TAG-{number}","type":"ISO14443"}}'
    payload = (
        f'{{"eventType":"{kind}","triggerReason":"{trigger}","seqNo":{message},"timestamp":"{stamp}",'
        f'"transactionInfo":{{"transactionId":"{station_name(number)}-{session}","chargingState":"Charging"{ending}}},'
        f'"evse":{{"id":1,"connectorId":1}}{token},"meterValue":[{{"timestamp":"{stamp}","sampledValue":['
        f'{{"value":{wh},{_REGISTER},"unitOfMeasure":{{"unit":"Wh"}},"context":"{context}"}}{more}]}}]}}'
    )
    return _call(number, "ocpp2.0.1", "TransactionEvent", payload, "{}", at)


def _call(number: int, version: str, action: str, payload: str, answer: str, at: int) -> OcppCallReceived:
    return OcppCallReceived(
        **_envelope(at), station_id=station_name(number), connection_epoch=1, edge_id="edge-0", version=version,
        message_id=new_id(), action=action, payload=payload, answer=answer, vendor="Example", model="AC 11",
        firmware="1.2.3",
    )  # fmt: skip


def _envelope(at: int) -> dict[str, Any]:
    event_id = new_id()
    return {"event_id": event_id, "cause_id": event_id, "occurred_at": at, "recorded_at": at + 150_000}
