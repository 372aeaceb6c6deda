"""``kounter feed check`` and ``accept``, and the state of feed files for ``kounter feed status``."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr

from adapters.feeds import check as checking
from adapters.feeds.check import Checked
from adapters.feeds.download import shown as address_of
from adapters.feeds.settings import FeedFile, Format
from adapters.feeds.state import FeedState, FeedStates
from kounter.connect import connected_settings
from kounter.settings import Settings, load
from kounter.terminal import grid, put, screen, shown, to_json
from streams.kafka.settings import KafkaSettings

COUNTED: Final = (
    "offers", "new", "changed", "returned", "gone", "same", "refused", "duplicates", "missing_ids", "parents", "known",
)  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


def check(
    feed: Annotated[str, typer.Argument(metavar="NAME|URL|FILE", help="A feed of the settings, an address or a file.")],
    format: Annotated[Format, typer.Option(help="The format; a feed of the settings has its own.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Read a feed file to its end and show what it would change; nothing is written.

    A feed of the settings is compared with what it said last; of any other file all is new. Exits with 1 if the file
    can't be read or the guard would refuse it.
    """
    known = next((one for one in load().feeds.sources if feed in (one.name, one.url.get_secret_value())), None)
    file = known or FeedFile(name="check", url=SecretStr(feed), format=format)
    checked = asyncio.run(checking.check(file, connected_settings().kafka if known else None))
    if as_json:
        print(to_json({**asdict(checked.counts), "doubts": [list(doubt) for doubt in checked.doubts]}))
    else:
        _show(checked)
    if checked.doubts:
        raise typer.Exit(1)


async def files(settings: Settings) -> list[dict[str, Any]]:
    """Returns facts about each feed file."""
    states = await _states(settings.kafka)
    return [_facts(settings, name, states.get(name, FeedState())) for name in _names(settings, states)]


def show_files(found: list[dict[str, Any]]) -> None:
    """Print facts about feed files as a table."""
    table = grid("feed", "address", "good", "age", "offers", "refused offers", "state", right=("offers",))
    for one in found:
        cells = (one["name"], one["address"], one["good_at"] or "never", one["age"], one["offers"], one["refused"])
        table.add_row(*(shown(cell) for cell in cells), shown(one["state"]))
    put(table, "feed")


def accept(name: Annotated[str, typer.Argument(help="The feed whose file is refused.")]) -> None:
    """Take the refused file of a feed: with its next reading, unless it then lacks more."""
    reasons = asyncio.run(checking.accept(connected_settings().kafka, name, _now()))
    print(f"{name}: accepted for the next reading: {'; '.join(reasons)}")


async def _states(kafka: KafkaSettings) -> dict[str, FeedState]:
    async with FeedStates(kafka) as states:
        return (await states.load())[0]


def _now() -> int:
    return time.time_ns() // 1_000


def _names(settings: Settings, states: dict[str, FeedState]) -> list[str]:
    """Returns the feeds of the settings, then those that were read by other settings."""
    return list(dict.fromkeys([*(one.name for one in settings.feeds.sources), *states]))


def _facts(settings: Settings, name: str, state: FeedState) -> dict[str, Any]:
    known = next((one for one in settings.feeds.sources if one.name == name), None)
    good = state.good_at
    age = timedelta(seconds=(_now() - good) // 1_000_000) if good else ""
    return {
        "name": name,
        "address": address_of(known.url.get_secret_value()) if known else "not in the settings",
        "good_at": _time(good),
        "checked_at": _time(state.checked_at),
        "age": str(age),
        "offers": state.counts.get("offers", ""),
        "refused": state.counts.get("refused", ""),
        "state": _state(state),
        "counts": state.counts,
    }


def _state(state: FeedState) -> str:
    return state.alarm or ("good" if state.good_at else "never read")


def _time(micros: int | None) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat(timespec="seconds") if micros else ""


def _show(checked: Checked) -> None:
    counts = asdict(checked.counts)
    table = grid("", "number", right=("number",))
    for name in COUNTED:
        table.add_row(name.replace("_", " "), f"{counts[name]:,}")
    put(table)
    if checked.counts.examples:
        refused = grid("refused offer", "field", "expected", "came")
        for one in checked.counts.examples:
            refused.add_row(*(shown(one[name]) for name in ("ext_id", "field", "expected", "came")))
        put(refused, "refused offer")
    for doubt in checked.doubts:
        screen().print(f"[red]the guard would refuse the file: {shown(doubt.said)}[/]")
