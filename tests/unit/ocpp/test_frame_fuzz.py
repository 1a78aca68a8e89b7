"""A grammar fuzz of everything between the socket and the schema check.

Frames are made by the grammar of OCPP-J, then bent at random. A fixed number of them in the suite; with
`VOLTBUS_FUZZ_SECONDS` (`make fuzz`) as many as fit in that time, from another seed each time.
"""

from __future__ import annotations

import gc
import json
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import orjson
import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from libs.ocpp import frames
from libs.ocpp.frames import (
    CallReceived,
    ErrorReceived,
    Ignored,
    Refused,
    Replay,
    ResultErrorReceived,
    ResultReceived,
    SendReceived,
)
from libs.ocpp.inbound import CheckedCall, check_call, check_result
from libs.ocpp.routing import ROUTES
from libs.ocpp.rpc import Role, RpcMachine
from libs.ocpp.schemas import Violation
from libs.ocpp.semantics import read_call
from libs.ocpp.versions import Version
from services.edge.socket import whole_text
from tests.unit.ocpp.minimal import minimal
from tests.unit.ocpp.payloads import FUZZ_SECONDS, largest
from tests.unit.ocpp.test_rpc_model import conforms

CASES = 4000
NOW = 1_800_000_000_000_000
GROWTH = 10 * 1024
"""Bytes in four rounds: half of what the message ids of their frames take, twice what caches still take."""
OUTCOMES = {
    CallReceived,
    SendReceived,
    ResultReceived,
    ErrorReceived,
    ResultErrorReceived,
    Replay,
    Refused,
    Ignored,
}
TEXTS = [
    "",
    "\0",
    "\ufeff",
    "\u2028",
    "ß€😀",
    "x" * 300,
    "=cmd|' /C calc'!A0",
    "<script>",
    "'; DROP TABLE x;--",
    "%s%n",
    "../" * 20,
    "\x1b[31m",
    "a\u0301" * 50,
    "\u202e",
]
NUMBERS = [0, -0.0, -1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 1e308, 5e-324, 0.1, 1.5]
# What no JSON writer makes of a value.
RAW_VALUES = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"1e-999",
    b"9" * 500,
    b"0." + b"1" * 500,
    b"01",
    b"+1",
    b".5",
    b"1.",
    b"0x10",
    b"'x'",
    b"undefined",
    b"tru",
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\u0000"',
    b'"\xff\xfe"',
    b'"\xed\xa0\x80"',
    b'"\xc0\xaf"',
    b'"\n"',
    b'"\\x41"',
    b"/* */1",
    b"[1,]",
    b'{"a":1,}',
    b'{"a":1,"a":{"a":2}}',
    b"{1:2}",
    b"[" * 600 + b"]" * 600,
    b'{"a":' * 70 + b"1" + b"}" * 70,
    b"[" * 1500,
    b'{"a":' * 1500,
]


class Fuzzer:
    """Makes frames from one source of randomness."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._earlier = b"[]"

    def frame(self, version: Version, outstanding: str | None) -> bytes:
        """A frame that a peer of this version might send, or might never."""
        if self.random.random() < 0.1:
            return self._earlier
        parsed = self._message(version, outstanding)
        if self.random.random() < 0.3:
            self._bend(parsed)
        text = self._write(parsed)
        for _ in range(self.random.choice([0, 0, 0, 0, 0, 1, 1, 2, 4])):
            text = self.random.choice(BENDS)(self.random, text)
        self._earlier = text[: 2 * frames.MAX_FRAME]
        return self._earlier

    def _message(self, version: Version, outstanding: str | None) -> list[Any]:
        pick = self.random
        message_id: Any = f"m{pick.randrange(1000)}"
        if pick.random() < 0.1:
            message_id = pick.choice([outstanding or "c", pick.choice(TEXTS), "m1", 5, None, "-1"])
        kind = pick.choice([2, 2, 2, 2, 2, 2, 3, 4, 5, 6, pick.randrange(-5, 300)])
        action = pick.choice(
            [
                a
                for a, route in ROUTES[version].items()
                if route.is_send or kind != 6 or version is not Version.V21
            ]
        )
        if kind == 2 and pick.random() < 0.8:
            action = pick.choice([a for a, route in ROUTES[version].items() if route.to_csms])
        if pick.random() < 0.05:
            action = pick.choice(TEXTS)
        match kind:
            case 3:
                return [
                    3,
                    outstanding or message_id,
                    payload_of(version, action, "response", pick.random() < 0.5),
                ]
            case 4 | 5:
                meant = message_id if kind == 5 or pick.random() < 0.5 else outstanding
                return [kind, meant, "GenericError", pick.choice(TEXTS), {"a": pick.choice(TEXTS)}]
        return [kind, message_id, action, payload_of(version, action, "request", pick.random() < 0.5)]

    def _bend(self, parsed: list[Any]) -> None:
        """Change one value somewhere: its type, its size, its place, or that it is there at all."""
        pick = self.random
        parent: Any = parsed
        while True:
            keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
            if not keys:
                return
            key = pick.choice(keys)
            child: Any = parent[key]
            if not isinstance(child, dict | list) or pick.random() < 0.3:
                break
            parent = child
        match pick.randrange(5):
            case 0:
                del parent[key]
            case 1:
                parent[key] = pick.choice(TEXTS)
            case 2:
                parent[key] = pick.choice(NUMBERS)
            case 3:
                parent[key] = pick.choice([None, True, False, [], {}, [child] * 20, {"a": child}])
            case _ if isinstance(parent, dict):
                parent[pick.choice(TEXTS)] = child
            case _:
                parent.insert(0, child)

    def _write(self, parsed: list[Any]) -> bytes:
        match self.random.randrange(3):
            case 0:
                return json.dumps(parsed).encode()
            case 1:
                return json.dumps(parsed, ensure_ascii=False, indent=self.random.choice([None, 2])).encode()
        return json.dumps(parsed, separators=(",", ":")).encode()


def _truncated(pick: random.Random, text: bytes) -> bytes:
    return text[: pick.randrange(len(text) + 1)]


def _spliced(pick: random.Random, text: bytes) -> bytes:
    start, end = sorted((pick.randrange(len(text) + 1), pick.randrange(len(text) + 1)))
    return text[:start] + text[end:]


def _repeated(pick: random.Random, text: bytes) -> bytes:
    start, end = sorted((pick.randrange(len(text) + 1), pick.randrange(len(text) + 1)))
    return text[:end] + text[start:end] * pick.choice([1, 2, 50]) + text[end:]


def _sprinkled(pick: random.Random, text: bytes) -> bytes:
    at = pick.randrange(len(text) + 1)
    return (
        text[:at]
        + bytes(pick.choices(b'[]{},:"\\0123456789eE+-.ntf \t\r\n\x00\xff\xef\xbb\xbf', k=3))
        + text[at:]
    )


def _flipped(pick: random.Random, text: bytes) -> bytes:
    if not text:
        return text
    at = pick.randrange(len(text))
    return text[:at] + bytes([text[at] ^ 1 << pick.randrange(8)]) + text[at + 1 :]


def _revalued(pick: random.Random, text: bytes) -> bytes:
    places = [at for at, byte in enumerate(text) if byte in b":,"]
    if not places:
        return text
    at = pick.choice(places)
    end = min((e for e in (text.find(c, at + 1) for c in (b",", b"}", b"]")) if e > 0), default=len(text))
    return text[: at + 1] + pick.choice(RAW_VALUES) + text[end:]


def _doubled_key(pick: random.Random, text: bytes) -> bytes:
    return text.replace(b"{", b'{"transactionId":%d,"transactionId":"x",' % pick.randrange(9), 1)


def _marked(_: random.Random, text: bytes) -> bytes:
    return b"\xef\xbb\xbf" + text


def _recoded(pick: random.Random, text: bytes) -> bytes:
    return text.decode("utf-8", "replace").encode(pick.choice(["utf-16", "utf-32-le", "cp037"]), "replace")


def _grown(_: random.Random, text: bytes) -> bytes:
    return text + b" " * frames.MAX_FRAME


BENDS: list[Callable[[random.Random, bytes], bytes]] = [
    _truncated,
    _truncated,
    _spliced,
    _repeated,
    _sprinkled,
    _sprinkled,
    _flipped,
    _revalued,
    _revalued,
    _revalued,
    _doubled_key,
    _marked,
    _recoded,
    _grown,
]


@cache
def _payload_text(version: Version, action: str, kind: str, large: bool) -> str:
    route = ROUTES[version].get(action)
    if route is None or (route.is_send and kind == "response"):
        return "{}"
    make = largest if large else minimal
    return json.dumps(make(version, action, "response" if kind == "response" else "request"))


def payload_of(version: Version, action: str, kind: str, large: bool) -> Any:
    return json.loads(_payload_text(version, action, kind, large))


def rounds() -> Iterator[int]:
    """Seeds: one in the suite, and until the time is over in a long run."""
    if not FUZZ_SECONDS:
        yield 1
        return
    end = time.monotonic() + FUZZ_SECONDS / (2 * len(Version))
    while time.monotonic() < end:
        yield random.SystemRandom().randrange(2**32)


def run(version: Version, seed: int, cases: int) -> Counter[str]:
    """Let a machine receive `cases` frames, and act on what it makes of them as an edge does."""
    fuzzer, machine, seen = Fuzzer(seed), RpcMachine(version, Role.CSMS), Counter[str]()
    down = [action for action, route in ROUTES[version].items() if route.to_station]
    for number in range(cases):
        if machine.outstanding is None:
            machine.call(fuzzer.random.choice(down), {}, f"c{number}")
        waiting = machine.outstanding
        frame = fuzzer.frame(version, waiting.message_id if waiting is not None else None)
        try:
            seen[_step(version, machine, frame, fuzzer.random)] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, case {number}: {frame[:2000]!r}") from error
    return seen


def _step(version: Version, machine: RpcMachine, frame: bytes, pick: random.Random) -> str:
    received = machine.receive(frame)
    assert type(received) in OUTCOMES
    if isinstance(received, CallReceived | SendReceived):
        if frame.count(b"\\") == 0:
            assert received.payload_json.encode() in (frame, b"{}") or received.payload_json.encode() in frame
        assert received.payload == (orjson.loads(received.payload_json) or {})
        checked = check_call(version, received.action, received.payload)
        assert isinstance(checked, CheckedCall | Violation)
        if isinstance(checked, CheckedCall):
            read_call(version, received.action, checked.payload, None, NOW)
        if isinstance(received, CallReceived) and pick.random() < 0.9:
            if isinstance(checked, CheckedCall):
                machine.answer(received.message_id, {"ok": True})
            else:
                conforms(
                    machine.fail(received.message_id, checked.code, f"{checked.path}: {checked.message}")
                )
        return type(received).__name__ + (" bad" if isinstance(checked, Violation) else "")
    if isinstance(received, ResultReceived):
        judged = check_result(version, received.call.action, received.payload)
        assert isinstance(judged, CheckedCall | Violation)
        assert orjson.dumps(received.payload)
    elif isinstance(received, ErrorReceived | ResultErrorReceived):
        assert orjson.dumps([received.code, received.description, received.details])
    elif isinstance(received, Refused) and received.reply_text is not None:
        conforms(received.reply_text)
    elif isinstance(received, Replay):
        assert orjson.loads(received.answer_text)[:2] == [3, received.message_id]
    if len(machine.unanswered) == frames.MAX_OPEN:
        for message_id in machine.unanswered:
            machine.answer(message_id, {})
    return type(received).__name__


@pytest.mark.parametrize("version", Version)
def test_whatever_comes_is_one_of_the_known_outcomes(version: Version) -> None:
    seen = Counter[str]()
    for seed in rounds():
        seen += run(version, seed, CASES)
    expected = {
        "CallReceived",
        "CallReceived bad",
        "ResultReceived",
        "ErrorReceived",
        "Refused",
        "Ignored",
        "Replay",
    }
    if version is Version.V21:
        expected |= {"SendReceived", "ResultErrorReceived"}
    assert expected <= set(seen), seen


@pytest.mark.parametrize("version", Version)
def test_memory_does_not_grow_with_what_comes(version: Version) -> None:
    cases = CASES // 40
    for seed in (2, 3):  # caches fill
        run(version, seed, cases)
    tracemalloc.start()
    try:
        sizes = []
        for seed in (2, 3, 2, 3, 2):
            run(version, seed, cases)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[-1] - sizes[0] < GROWTH, sizes


def _websocket_frame(pick: random.Random, text: bytes) -> bytes:
    opcode = pick.choice([Opcode.TEXT] * 9 + list(Opcode))
    if opcode >= Opcode.CLOSE:
        text = text[:125]
    fin = opcode >= Opcode.CLOSE or pick.random() < 0.9
    data = Frame(opcode, text, fin=fin).serialize(mask=pick.random() < 0.95)
    if pick.random() < 0.05:  # a reserved bit, such as that of compression
        data = bytes([data[0] | pick.choice([0x10, 0x20, 0x40])]) + data[1:]
    match pick.randrange(8):
        case 0:
            data = _flipped(pick, data[:14]) + data[14:]
        case 1:
            data = _truncated(pick, data)
        case 2:
            data += pick.randbytes(pick.randrange(1, 9))
    return data


@pytest.mark.parametrize("version", Version)
def test_the_short_cut_takes_no_frame_otherwise_than_the_library(version: Version) -> None:
    taken = 0
    for seed in rounds():
        fuzzer = Fuzzer(seed)
        for number in range(CASES // 4):
            data = _websocket_frame(fuzzer.random, fuzzer.frame(version, None))
            message = whole_text(data)
            if message is None:
                continue
            taken += 1
            library = ServerProtocol(state=State.OPEN, max_size=None)
            library.receive_data(data)
            (frame,) = library.events_received()
            assert isinstance(frame, Frame)
            assert (frame.opcode, frame.fin, bytes(frame.data)) == (Opcode.TEXT, True, message), (
                seed,
                number,
            )
    assert taken > CASES // 16
