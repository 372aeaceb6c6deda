"""Output to the terminal: tables, texts and JSON, without anything that a terminal would execute."""

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
"""Characters that JSON leaves unchanged and a terminal executes: C1 controls, line ends, text directions."""
UNBROKEN = 10_000
"""Columns of an output that is no terminal: `grep` must find a whole line."""
ROOM = 10
"""Least columns of a folded column in a terminal."""


def screen(*, stderr: bool = False) -> Console:
    """Returns the console: as wide as the terminal, and for a file or a pipe as wide as the text."""
    console = Console(stderr=stderr, highlight=False, emoji=False)
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = UNBROKEN
    return console


def grid(*names: str, right: Iterable[str] = ()) -> Table:
    """Returns an empty table, with numbers in the columns ``right``. Long cells are folded, never cut: an address must
    be complete to be copied."""
    columns = (Column(name, overflow="fold", justify="right" if name in right else "left") for name in names)
    return Table(*columns, box=None, header_style="bold", title_justify="left")


def put(table: Table, *whole: str) -> None:
    """Print a table. The columns ``whole`` are not folded as long as the others have room for that."""
    console = screen()
    kept = [column for column in table.columns if column.header in whole]
    widths = (max(console.measure(cell).maximum for cell in (c.header, *c.cells)) + 2 for c in kept)
    if sum(widths) + ROOM * (len(table.columns) - len(kept)) <= console.width:
        for column in kept:
            column.no_wrap = True
    console.print(table)


def shown(value: Any) -> str:
    """Returns external text for rich: no markup, no control characters."""
    return escape(plain_text(str(value)))


def plain_text(text: str) -> str:
    """Returns the text without control characters, which a terminal would execute."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def to_json(value: Mapping[str, Any] | list[Any]) -> str:
    """Returns one line of JSON, without anything that a terminal would execute."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
