"""How much memory something takes, for tests."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager


class Growth:
    """`kept`: bytes allocated within `growth()` and not freed."""

    kept = 0


@contextmanager
def growth() -> Iterator[Growth]:
    """Measure what the body allocates and keeps."""
    found = Growth()
    tracemalloc.start()
    try:
        yield found
        found.kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
