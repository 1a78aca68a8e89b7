"""What every connection of an edge process shares."""

import asyncio
from typing import Final

import msgspec

from libs.security.sealing import Sealer
from services.edge.domain.quota import Quota
from services.edge.domain.rules import ReadModels
from services.edge.freshness import Freshness
from services.edge.gate import Gate
from services.edge.publisher import Publisher
from services.edge.settings import EdgeSettings

RECORD_OVERHEAD: Final = 512
"""Bytes that a record takes beside its payload while it is under way, roughly."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One per process."""

    edge_id: str
    slot: int
    settings: EdgeSettings
    models: ReadModels
    publisher: Publisher
    gate: Gate
    quota: Quota
    loop: asyncio.AbstractEventLoop
    freshness: Freshness
    sealer: Sealer | None = None
