"""``kounter dead-letters retry`` and ``kounter parked`` as a person calls them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from kounter.cli import app
from kounter.settings import load
from schemas.errors import InvalidInput
from streams.deadletters import RETRIED, TOPIC, dead_letter
from tests.integration.deliveries import Bench

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KOUNTER_KAFKA__BOOTSTRAP_SERVERS", bench.cluster.kafka.bootstrap_servers)
    monkeypatch.setenv("KOUNTER_REGISTRY__URL", bench.cluster.registry.url)
    load.cache_clear()
    yield
    load.cache_clear()


async def kounter(*arguments: str) -> dict[str, Any]:
    """In a thread, as it runs a loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    if result.exception is not None:
        raise result.exception
    said: dict[str, Any] = json.loads(result.stdout)
    return said


async def test_dead_letters_go_back_where_they_came_from(bench: Bench) -> None:
    await bench.cluster.send_raw(bench.reply, b"l-1", b"noise")
    await bench.cluster.send_raw(bench.reply, None, b"more")
    came = sorted(await bench.cluster.read(bench.reply), key=lambda record: record.value)
    for record in came:
        letter = dead_letter(bench.reply, record, InvalidInput("x", "y", "z"))
        await bench.cluster.raw.send_and_wait(TOPIC, letter.value, letter.key, headers=letter.headers)

    options = ("dead-letters", "retry", "--topic", bench.reply, "--json")
    reasons = [{"topic": bench.reply, "reason": "invalid_input", "records": 2}]
    assert await kounter(*options, "--dry-run") == {"records": 2, "reasons": reasons, "dry_run": True}
    assert len(await bench.cluster.read(bench.reply)) == 2
    assert await kounter(*options) == {"records": 2, "reasons": reasons, "dry_run": False}
    back = [r for r in await bench.cluster.read(bench.reply) if RETRIED in dict(r.headers)]
    assert [(r.key, r.value, r.partition, r.timestamp) for r in sorted(back, key=lambda record: record.value)] == [
        (r.key, r.value, r.partition, r.timestamp) for r in came
    ]


async def test_without_a_choice_nothing_is_done(bench: Bench) -> None:
    for command in (("dead-letters", "retry"), ("parked", "retry"), ("parked", "drop", "--all", "--key", "x")):
        with pytest.raises(InvalidInput):
            await kounter(*command)
    with pytest.raises(InvalidInput):
        await kounter("parked", "retry", "--all", "--set", "stage")
