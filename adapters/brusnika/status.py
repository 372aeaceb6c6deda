"""The state of a running feed, reported for `kounter feed status`, which is another process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from loguru import logger

from adapters.brusnika.feed import BrusnikaFeed

STATUS: Final = "status"
"""The note in the topic of positions that holds the state."""
REPORT_EVERY_S: Final = 2.0
MOST_SHOWN: Final = 10
"""Gaps that are shown line by line."""
Report = Callable[[Mapping[str, Any]], Awaitable[None]]
_RESUMES: Final = {
    True: "yes",
    False: "no: the server ignores the number it is asked after, so each connection brings all there is",
    None: "not known yet",
}


def status_of(feed: BrusnikaFeed) -> dict[str, Any]:
    """Returns the state as JSON values. Gaps are ``[first, last, whether asked for again]``."""
    missing = [[gap.first, gap.last, asked] for gap, asked in feed.progress.missing()]
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "framing": feed.framing.value,
        **asdict(feed.stats),
        "gaps": missing,
    }


async def report_on(feed: BrusnikaFeed, report: Report) -> None:
    """Report the state again and again while it changes. A failure is logged: the next report may succeed."""
    before: dict[str, Any] = {}
    while True:
        now = status_of(feed)
        if {**now, "at": ""} != before:
            try:
                await report(now)
            except Exception as error:
                logger.warning("the state of the brusnika feed was not reported: {!r}", error)
            else:
                before = {**now, "at": ""}
        await asyncio.sleep(REPORT_EVERY_S)


def lines_of(status: Mapping[str, Any] | None, now: datetime) -> list[str]:
    """Returns the lines that show a state."""
    if status is None:
        return ["brusnika: the feed has never run"]
    state = "connected" if status["connected"] else f"not connected: {status['problem'] or 'the feed is not running'}"
    age = round((now - datetime.fromisoformat(status["at"])).total_seconds())
    lines = [
        f"brusnika: {state}",
        f"  framing    {status['framing']}",
        f"  position   {_shown(status['position'])}, resumes after it: {_RESUMES[status['resumes']]}",
        f"  frames     {status['frames']:,}, of them {status['rows']:,} taken, {status['bad']:,} refused and answered"
        f" ({status['kept']:,} kept: `kounter dead-letters ls`)",
        f"  repeated   {status['repeated']:,} known before, {status['below']:,} not above the number asked after",
        f"  sessions   {status['sessions']:,}, of them {status['asked_again']:,} ended to ask for missing changes",
        f"  changed    {age:,} s ago",
    ]
    gaps = status["gaps"]
    count = sum(last - first + 1 for first, last, _ in gaps)
    lines.append(f"  missing    {count:,} numbers in {len(gaps):,} gaps" if gaps else "  missing    none")
    for first, last, asked in gaps[:MOST_SHOWN]:
        what = f"{first}" if first == last else f"{first} to {last}"
        lines.append(f"    {what}{', asked for again, never came' if asked else ', to be asked for again'}")
    if len(gaps) > MOST_SHOWN:
        lines.append(f"    and {len(gaps) - MOST_SHOWN:,} gaps more: --json")
    return lines


def _shown(position: int | None) -> str:
    return "none yet" if position is None else f"update_id {position}"
