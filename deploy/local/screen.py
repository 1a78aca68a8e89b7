"""What a person sees while the demonstration runs: a live view on a terminal, plain lines elsewhere."""

import time
from collections import deque
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from services.simulator.fleet import Stats

LINE_EVERY_S: Final = 5.0
_EVENTS_SHOWN: Final = 12
_WATT_PER_AMPERE: Final = 3 * 230


class Screen:
    """Takes events and the fleet's figures; use as a context manager."""

    def __init__(self, limits_a: dict[str, float]) -> None:
        """`limits_a`: site limits, ampere per phase."""
        self.console = Console()
        if not self.console.is_terminal:
            # Logs need no wrapping at 80 columns.
            self.console.width = 120
        self.limits_a = limits_a
        self.peaks_a: dict[str, float] = {}
        self._events: deque[str] = deque(maxlen=_EVENTS_SHOWN)
        self._started = time.monotonic()
        self._last_line = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """One event."""
        line = f"{time.monotonic() - self._started:6.1f} s  {text}"
        self._events.append(line)
        if self._live is None:
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(self, hour: float, stats: Stats) -> None:
        """The fleet's figures at the simulated `hour`."""
        for site, watt in stats.site_power_w.items():
            self.peaks_a[site] = max(self.peaks_a.get(site, 0.0), watt / _WATT_PER_AMPERE)
        if self._live is not None:
            self._live.update(self._view(hour, stats))
        elif time.monotonic() - self._last_line >= LINE_EVERY_S:
            self._last_line = time.monotonic()
            self.say(
                f"{_clock(hour)}  {stats.online} online, {stats.charging} charging, "
                f"{stats.power_w / 1000:.0f} kW, {stats.energy_wh / 1000:.0f} kWh, "
                f"{stats.sessions_ended} of {stats.sessions_started} sessions ended, "
                f"{stats.answered} calls answered, {stats.reconnects} reconnects"
            )

    def _view(self, hour: float, stats: Stats) -> Group:
        table = Table(expand=True, title=f"Voltbus, {_clock(hour)} of an accelerated day")
        for title in ("site", "charging", "power", "per phase", "limit", ""):
            table.add_column(title, justify="left" if title in ("site", "") else "right")
        for site, watt in sorted(stats.site_power_w.items()):
            ampere, limit = watt / _WATT_PER_AMPERE, self.limits_a.get(site)
            table.add_row(
                site,
                str(stats.site_charging[site]),
                f"{watt / 1000:.1f} kW",
                f"{ampere:.0f} A",
                f"{limit:.0f} A" if limit else "none",
                _bar(ampere, limit),
            )
        figures = (
            f"{stats.online}/{stats.chargers} chargers online   {stats.energy_wh / 1000:.1f} kWh delivered   "
            f"{stats.sessions_ended}/{stats.sessions_started} sessions ended   "
            f"{stats.answered} calls answered   {stats.reconnects} reconnects"
        )
        events = Panel(Text("\n".join(self._events)), title="what happens", title_align="left")
        return Group(table, Text(figures, style="bold"), events)


def _clock(hour: float) -> str:
    return f"{int(hour):02d}:{int(hour * 60) % 60:02d}"


def _bar(ampere: float, limit: float | None, width: int = 24) -> Text:
    full = limit or 200.0
    cells = min(width, round(width * ampere / full))
    return Text("█" * cells + "░" * (width - cells), style="red" if limit and ampere > limit else "green")
