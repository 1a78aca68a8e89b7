"""The statements of docs/consumers.md, for the platform under test."""

from __future__ import annotations

import re

from deploy.documentation import ROOT
from libs.bus.settings import BusSettings


def statements(chapter: str, settings: BusSettings) -> list[str]:
    """Those of a chapter, with this platform's addresses and topic."""
    guide = (ROOT / "docs" / "consumers.md").read_text()
    text = guide.partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    for written, meant in (
        ("http://registry:8080/apis/ccompat/v7", settings.registry_url),
        ("kafka:9092", settings.kafka),
        ("'sessions.latest'", f"'{settings.topic('sessions.latest')}'"),
    ):
        assert written in block
        block = block.replace(written, meant)
    return [statement.strip() for statement in block.split(";") if statement.strip()]
