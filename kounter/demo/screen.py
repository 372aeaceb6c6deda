"""The demonstration's screen while it runs."""

from __future__ import annotations

from collections import deque
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kounter.demo.probe import Progress

WINDOW: Final = 8
"""Samples over which a rate is averaged."""


class Screen:
    """A live table on a terminal; single lines where the output is none."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._looks: deque[tuple[float, Progress]] = deque(maxlen=WINDOW)
        self._notes: list[str] = []
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None
        self._said = 0.0

    def __enter__(self) -> Screen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def note(self, at: float, text: str) -> None:
        """Show an event that happened ``at`` seconds after the start."""
        self._notes.append(f"[dim]{at:5.1f} s[/]  {text}")
        if not self._live:
            self.console.print(f"{at:5.1f} s  {text}")

    def show(self, at: float, progress: Progress, workers: str) -> None:
        """Show the newest sample."""
        self._looks.append((at, progress))
        if self._live:
            self._live.update(self._table(progress, workers))
        elif at - self._said > 5:
            self._said = at
            self.console.print(
                f"{at:5.1f} s  in {progress.records_in}, folded {progress.folded}, lag {progress.lag}, "
                f"delivered {progress.delivered} of {progress.commands}"
            )

    def _table(self, progress: Progress, workers: str) -> RenderableType:
        table = Table("", "records", "per second", title="Kounter", min_width=56)
        table.columns[1].justify = table.columns[2].justify = "right"
        rows = {
            "in (Brusnika's feed)": ("records_in", progress.records_in),
            "folded": ("folded", progress.folded),
            "commands to the CRM": ("commands", progress.commands),
            "delivered to Bitrix24": ("delivered", progress.delivered),
        }
        for title, (name, value) in rows.items():
            table.add_row(title, f"{value:,}", f"{self._rate(name):,.0f}")
        table.add_row("lag", f"{progress.lag:,}", "")
        table.add_row("dead letters", f"{progress.dead_letters:,}", "")
        table.add_row("workers", workers, "")
        return Group(table, *(Text.from_markup(note) for note in self._notes[-6:]))

    def _rate(self, name: str) -> float:
        (first_at, first), (last_at, last) = self._looks[0], self._looks[-1]
        passed = last_at - first_at
        return max(0.0, (getattr(last, name) - getattr(first, name)) / passed) if passed > 0 else 0.0
