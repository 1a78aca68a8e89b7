"""Show how far a download has come."""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S: Final = 4.0
_TICK_S: Final = 0.25


class CancelledError(Exception):
    """The download was given up; raised in its threads."""


class Download:
    """Counts the bytes of several downloads that run in threads."""

    def __init__(self, total: int) -> None:
        """`total` is the size of everything in bytes."""
        self.total = total
        self._arrived: dict[str, int] = {}
        self._lock = threading.Lock()
        self._cancelled = False

    @property
    def arrived(self) -> int:
        """Bytes that have arrived so far, at most `total`."""
        with self._lock:
            return min(self.total, sum(self._arrived.values()))

    def add_arrived(self, name: str, count: int) -> None:
        """Count more bytes of one download. Raises CancelledError after `cancel`."""
        self.check()
        with self._lock:
            self._arrived[name] = self._arrived.get(name, 0) + count

    def set_arrived(self, name: str, total: int) -> None:
        """Set the bytes of one download; 0 when it begins anew. Raises CancelledError after `cancel`."""
        self.check()
        with self._lock:
            self._arrived[name] = total

    def cancel(self) -> None:
        """Make the threads that download end soon."""
        self._cancelled = True

    def check(self) -> None:
        """Raise CancelledError after `cancel`."""
        if self._cancelled:
            raise CancelledError

    def watch(self, downloads: Sequence[Future[None]], report: Callable[[str], None]) -> None:
        """Show progress until all downloads are done; raises the first error at once.

        A bar on a terminal, otherwise a line through `report` at once and every few seconds.
        """
        if sys.stderr.isatty():
            self._watch_bar(downloads)
        else:
            self._watch_lines(downloads, report)

    def _watch_bar(self, downloads: Sequence[Future[None]]) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("Kafka, registry, ClickHouse", total=self.total)
            while not _finished(downloads, _TICK_S):
                bar.update(task, completed=self.arrived, description=self._phase())
            bar.update(task, completed=self.total)

    def _watch_lines(self, downloads: Sequence[Future[None]], report: Callable[[str], None]) -> None:
        started = shown = time.monotonic()
        report(f"downloading {self.total / 1e6:.0f} MB: Kafka, schema registry, ClickHouse")
        while not _finished(downloads, _TICK_S):
            now = time.monotonic()
            if now - shown >= LINE_EVERY_S:
                shown = now
                report(self._line(now - started))
        report(f"downloaded and unpacked after {time.monotonic() - started:.0f} s")

    def _line(self, elapsed_s: float) -> str:
        arrived = self.arrived
        if arrived == self.total:
            return f"unpacking, {elapsed_s:.0f} s so far"
        rate = arrived / elapsed_s / 1e6
        return f"downloading: {arrived / 1e6:.0f} of {self.total / 1e6:.0f} MB, {rate:.1f} MB/s"

    def _phase(self) -> str:
        return "Downloading" if self.arrived < self.total else "Unpacking"


def _finished(downloads: Sequence[Future[None]], timeout_s: float) -> bool:
    """Wait a little; say whether all are done. Raises the error of one that failed."""
    done, pending = wait(downloads, timeout_s, return_when=FIRST_EXCEPTION)
    for download in done:
        download.result()
    return not pending
