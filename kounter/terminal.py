"""The terminal: tables, texts and JSON as they are printed, with nothing in them that a terminal would obey."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What JSON leaves as it is and a terminal obeys: C1 controls, other lines, other directions."""
UNBROKEN = 10_000
"""Columns of an output that is no terminal: `grep` must find a whole line, and nobody could widen it."""
ROOM = 10
"""Columns of a terminal that a folded column needs, to be read at all."""


def screen(*, stderr: bool = False) -> Console:
    """Where people read: as wide as their terminal, and a file or a pipe as wide as the text."""
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNBROKEN
    return console


def grid(*names: str, right: Iterable[str] = ()) -> Table:
    """An empty table, its columns ``right`` with numbers. What does not fit is folded, never cut: an address must be
    there to be copied."""
    columns = (Column(name, overflow="fold", justify="right" if name in right else "left") for name in names)
    return Table(*columns, box=None, header_style="bold", title_justify="left")


def put(table: Table, *whole: str) -> None:
    """Print it. The columns ``whole`` are not folded as long as the others have room to do so."""
    console = screen()
    kept = [column for column in table.columns if column.header in whole]
    widths = (max(console.measure(cell).maximum for cell in (c.header, *c.cells)) + 2 for c in kept)
    if sum(widths) + ROOM * (len(table.columns) - len(kept)) <= console.width:
        for column in kept:
            column.no_wrap = True
    console.print(table)


def shown(value: Any) -> str:
    """What came from outside, for rich: no markup, no control characters."""
    return escape(plain_text(str(value)))


def plain_text(text: str) -> str:
    """Without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def to_json(value: Mapping[str, Any] | list[Any]) -> str:
    """One line, and nothing in it that a terminal would obey."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
