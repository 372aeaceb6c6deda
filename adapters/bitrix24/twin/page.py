"""The twin's page for people: its latest leads. Every foreign text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Final

SHOWN: Final = 200
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_STYLE: Final = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #1d2433 }
h1 { font-size: 1.4rem; margin: 0 } p { color: #576075 } table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #e3e7ef; vertical-align: top }
th { font-weight: 600; color: #576075 } td { overflow-wrap: anywhere } td.n { font-variant-numeric: tabular-nums }
@media (prefers-color-scheme: dark) { body { background: #14171f; color: #e6e9f0 } th, p { color: #9aa4b8 }
  th, td { border-color: #2b3140 } }
"""
_COLUMNS: Final = ("ID", "TITLE", "STATUS_ID", "OPPORTUNITY", "NAME", "PHONE", "COMMENTS", "ORIGIN_ID", "DATE_MODIFY")


def page(leads: Sequence[dict[str, Any]], total: int, stages: Sequence[tuple[str, int]]) -> str:
    """Return HTML with the number of leads by stage, and a table of the newest leads."""
    head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    counts = " · ".join(f"{escape(stage)} {count}" for stage, count in stages) or "no leads yet"
    shown = f"the newest {len(leads)} of {total} leads" if total > len(leads) else f"{total} leads"
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bitrix24 twin</title><style>{_STYLE}</style></head><body>
<h1>Bitrix24 twin</h1><p>A stand-in for a Bitrix24 portal: {shown}. {counts}</p>
<table><thead><tr>{head}</tr></thead><tbody>{"".join(map(_row, leads))}</tbody></table></body></html>"""


def _row(lead: dict[str, Any]) -> str:
    cells = ((name, lead.get(name)) for name in _COLUMNS)
    return "<tr>" + "".join(f"<td{_style(name)}>{escape(_text(value))}</td>" for name, value in cells) + "</tr>"


def _style(name: str) -> str:
    return ' class="n"' if name in ("ID", "OPPORTUNITY") else ""


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(one.get("VALUE", "")) for one in value)
    return "" if value is None else str(value)
