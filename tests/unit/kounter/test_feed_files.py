"""``kounter feed check`` and ``status``, without Kafka."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapters.brusnika.position import KafkaPositions
from adapters.feeds.errors import BrokenFeed
from adapters.feeds.settings import FeedsSettings
from adapters.feeds.state import FeedState
from kounter import feed_files
from kounter.commands import feed as feed_command
from kounter.commands.feed import app
from kounter.settings import Settings, load
from tests.unit.adapters.feeds.lots import Lot, some, yrl

NOW = 1_800_000_000_000_000
SECRET = "https://user:pw@feed.example/feed/msk/?key=secret"


def run(*arguments: str) -> Any:
    load.cache_clear()
    return CliRunner().invoke(app, arguments)


def test_a_check_counts_and_names_what_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_bytes(yrl([*some(3), Lot("x", price="от 5,2 млн")]))
    found = json.loads(run("check", str(path), "--json").stdout)
    assert (found["offers"], found["new"], found["refused"], found["doubts"]) == (4, 3, 1, [])
    shown = run("check", str(path))
    assert shown.exit_code == 0
    assert "price.value" in shown.stdout
    assert "от 5,2 млн" in shown.stdout


def test_a_check_exits_with_1_where_the_guard_would_refuse_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_bytes(yrl([]))
    result = run("check", str(path))
    assert result.exit_code == 1
    assert "has no offers" in result.stdout
    path.write_bytes(b"<html></html>")
    assert isinstance(run("check", str(path)).exception, BrokenFeed)
    path.write_bytes(yrl(some(1)))
    assert isinstance(run("check", str(path), "--format", "cian").exception, BrokenFeed)


STATES = {
    "msk": FeedState(good_at=NOW - 90_000_000, error="the server answers 503", counts={"offers": 7}),
    "ekb": FeedState(refused=[["empty", "the file has no offers"]]),
    "old": FeedState(good_at=NOW),
}


def test_the_status_has_every_feed_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = FeedsSettings.model_validate(
        {"sources": [{"name": name, "url": SECRET} for name in ("msk", "ekb", "new")]},
    )

    async def states(kafka: object) -> dict[str, FeedState]:
        return STATES

    async def itself(positions: KafkaPositions) -> KafkaPositions:
        return positions

    async def no_notes(positions: object) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(feed_command, "connected_settings", lambda: Settings(feeds=feeds))
    monkeypatch.setattr(KafkaPositions, "__aenter__", itself)
    monkeypatch.setattr(KafkaPositions, "load_notes", no_notes)
    monkeypatch.setattr(feed_files, "_states", states)
    monkeypatch.setattr(feed_files, "_now", lambda: NOW)
    result = run("status", "--json")
    found = {one["name"]: one for one in json.loads(result.stdout)["files"]}
    assert [one["state"] for one in found.values()] == [
        "the server answers 503",
        "refused: the file has no offers",
        "never read",
        "good",
    ]
    assert found["msk"]["age"] == "0:01:30"
    assert found["msk"]["address"] == "https://feed.example/feed/msk/"
    assert found["old"]["address"] == "not in the settings"
    shown = run("status")
    assert shown.exit_code == 0
    assert not any(word in result.stdout + shown.stdout for word in ("secret", "pw@", "user"))
