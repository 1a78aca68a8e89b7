"""Processors decide over version-free events and commands; only `libs.ocpp.semantics` reads what OCPP says."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOMAINS = sorted(
    path
    for name in ("sessions", "telemetry", "load", "firmware", "commands", "provisioning")
    for path in (ROOT / "services" / name / "domain").rglob("*.py")
)
_READS_JSON = re.compile(r"\bimport (?:or)?json\b|\b(?:msgspec\.|or)?json\.(?:de|en)code\b|\borjson\b")


@pytest.mark.parametrize("path", DOMAINS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_processor_reads_payloads(path: Path) -> None:
    assert not _READS_JSON.search(path.read_text())


def test_the_check_would_see_it() -> None:
    assert len(DOMAINS) > 20
    for text in ("import json", "import orjson", "msgspec.json.decode(x)", "json.decode"):
        assert _READS_JSON.search(text)
