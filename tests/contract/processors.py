"""Every processor that a service defines, wherever it is."""

import importlib
from pathlib import Path
from typing import Any

from libs.bus.processor import Processor

ROOT = Path(__file__).parents[2]


def every_processor() -> list[type[Processor[Any]]]:
    """The classes, sorted by their modules."""
    for path in (ROOT / "services").rglob("*.py"):
        if path.stem not in ("__init__", "__main__"):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    kinds = {kind for kind in _below(Processor) if kind.__module__.startswith("services.")}
    return sorted(kinds, key=lambda kind: (kind.__module__, kind.__name__))


def _below(kind: type[Processor[Any]]) -> list[type[Processor[Any]]]:
    return [each for below in kind.__subclasses__() for each in (below, *_below(below))]
