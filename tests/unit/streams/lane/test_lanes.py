"""All lanes of a worker at a rebalance, and where their sources go on."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.kafka.offsets import CutShort
from streams.kafka.settings import KafkaSettings
from streams.lane.lanes import Lanes
from streams.lane.settings import LaneSettings
from streams.lane.sources import NotResumed, NotWhole
from tests.support.trial import TRIAL

CHANGELOG, ITEMS = TP(TRIAL.changelog, 3), TP("trial.item", 3)


class Consumer:
    """What Kafka says."""

    def __init__(self) -> None:
        self.ends = {CHANGELOG: 0, ITEMS: 50}
        self.committed: dict[TP, int | None] = {ITEMS: 20}
        self.sought: list[dict[TP, int]] = []
        self.begins = 0

    def under_way(self) -> set[TP]:
        return {TP("trial.account", 3)}

    def handed_out(self, tp: TP) -> int:
        return 30

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        return {tp: self.ends[tp] for tp in tps}

    async def earliest_offsets(self, *tps: TP) -> dict[TP, int]:
        return dict.fromkeys(tps, self.begins)

    async def committed_offsets(self, tps: set[TP]) -> dict[TP, int | None]:
        return {tp: self.committed.get(tp) for tp in tps}

    async def seek_wait(self, positions: dict[TP, int]) -> None:
        self.sought.append(positions)


class NoWriter:
    async def start(self) -> None:
        pass

    stop = start


@pytest.fixture
async def lanes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lanes]:
    app = SimpleNamespace(
        consumer=Consumer(),
        assignor=SimpleNamespace(assigned_actives=lambda: {CHANGELOG, ITEMS}),
        conf=SimpleNamespace(id=TRIAL.name),
        in_recovery=False,
        rebalancing=False,
        tables=SimpleNamespace(
            changelog_queue=deque(), recovery=SimpleNamespace(flush_buffers=lambda: app.calls.append("flush"))
        ),
        calls=[],
    )
    serde: Any = None
    made = Lanes(app, TRIAL, serde, KafkaSettings(), LaneSettings(), tmp_path)
    monkeypatch.setattr(made, "_writer", lambda partition: NoWriter())
    yield made
    await made.stop()
    made.stores.keep(())


async def test_lanes_are_made_anew_though_the_group_counts_from_one_again(lanes: Lanes) -> None:
    """As it does after the coordinator has lost it: drained lanes took nothing any more, without a word."""
    await lanes.on_rebalance({CHANGELOG, ITEMS}, 1)
    first = lanes._lanes[3]
    await lanes.drain()
    await lanes.on_rebalance({CHANGELOG, ITEMS}, 1)
    assert lanes._lanes[3] is not first
    assert not lanes._lanes[3]._closed


async def test_a_topic_that_ends_before_its_group_stands_is_not_read_on(lanes: Lanes) -> None:
    """It was made anew: all records up to the old position were passed over."""
    await lanes.on_rebalance({CHANGELOG, ITEMS}, 1)
    assert await lanes.sources.positions(3) == {ITEMS: 20}
    await lanes.on_rebalance({CHANGELOG, ITEMS}, 2)
    lanes._app.consumer.ends[ITEMS] = 19
    with pytest.raises(CutShort, match=r"stands at 20 of trial\.item 3, which ends at 19"):
        await lanes.sources.positions(3)


async def test_a_state_that_does_not_get_whole_ends_the_process(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recovery is over and reads no more of the changelog: the lanes waited for ever."""
    monkeypatch.setattr("streams.lane.sources.NOT_WHOLE_S", 0.01)
    await lanes.on_rebalance({CHANGELOG, ITEMS}, 1)
    lanes._app.consumer.ends[CHANGELOG] = 7
    monkeypatch.setattr("streams.lane.sources.WHOLE_WITHIN_S", 0.0)
    lanes._app.in_recovery = True
    assert await lanes.sources.positions(3) is None
    assert await lanes.sources.positions(3) is None
    lanes._app.in_recovery = False
    assert await lanes.sources.positions(3) is None
    with pytest.raises(NotWhole):
        await lanes.sources.positions(3)


async def test_a_copy_that_is_broken_within_is_wiped(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    """RocksDB opens it, and fails where it is read: the lane ended at every start."""
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    path = lanes.stores[3].path
    lanes.stores[3].write({b"trial.item\0%d" % n: os.urandom(50) for n in range(3_000)}, 7)
    for _ in range(2):  # what is flushed becomes a table file when the copy is opened again
        lanes.stores.keep(())
        assert lanes.stores[3].offset == 7
    lanes.stores.keep(())
    (table,) = path.glob("*.sst")
    data = table.read_bytes()
    table.write_bytes(data[:30_000] + b"\xff" * 20_000 + data[50_000:])
    with pytest.raises(Exception, match="Corruption") as failed:
        [lanes.stores[3].get(b"trial.item\0%d" % n) for n in range(3_000)]
    lanes.fail(3, failed.value)
    assert codes == [70]
    assert lanes.stores[3].offset is None


async def test_a_topic_that_was_given_more_partitions_ends_the_process(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is assigned apart from the others: what nobody with its lane is sent was dropped without a word."""
    codes: list[int] = []
    monkeypatch.setattr("os._exit", codes.append)
    await lanes.on_rebalance({CHANGELOG, ITEMS, TP("elsewhere", 8)}, 1)
    assert codes == []
    await lanes.on_rebalance({CHANGELOG, ITEMS, TP("trial.item", 8)}, 2)
    assert codes == [64]


async def test_what_waits_to_be_recovered_ends_with_its_generation(lanes: Lanes) -> None:
    """Left in the queue, it was the beginning of a copy made anew, of a partition that was given up and came back."""
    lanes._app.tables.changelog_queue.append("a batch of the generation before")
    lanes.stores[3].write({b"a": b"[]"}, 0)
    lanes._app.tables.recovery.flush_buffers = lambda: lanes._app.calls.append(3 in lanes.stores)
    lanes._app.consumer.begins = 40
    ours, lanes._app.assignor.assigned_actives = lanes._app.assignor.assigned_actives, lambda: set()
    await lanes.on_rebalance(set(), 2)
    lanes._app.assignor.assigned_actives = ours
    assert lanes._app.calls == [True], "while its copy was open"
    assert not lanes._app.tables.changelog_queue
    assert 3 not in lanes.stores
    await lanes.on_rebalance({CHANGELOG, ITEMS}, 3)
    assert lanes.stores.begins == {3: 40}


@pytest.mark.parametrize(("offset", "codes"), [(None, [64]), (10, [64]), (39, []), (60, [])])
async def test_a_copy_that_would_begin_in_the_middle_of_its_changelog(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch, offset: int | None, codes: list[int]
) -> None:
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    lanes._app.consumer.ends[CHANGELOG] = 100
    lanes._app.consumer.begins = 40
    if offset is not None:
        lanes.stores[3].write({b"a": b"[]"}, offset)
    await lanes.on_rebalance({CHANGELOG, ITEMS}, 1)
    assert left == codes


async def test_by_the_setting_it_begins_there_nevertheless(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    monkeypatch.setattr(lanes, "_kafka", KafkaSettings(retention="warn"))
    lanes._app.consumer.ends[CHANGELOG] = 100
    lanes._app.consumer.begins = 40
    await lanes.on_rebalance({CHANGELOG, ITEMS}, 1)
    assert left == []


async def test_what_the_consumer_passed_over_is_in_the_statistics(lanes: Lanes) -> None:
    asked: list[Any] = []
    lanes._app.consumer.deleted = lambda topics: asked.append(set(topics)) or 7
    lanes.sources.count_deleted()
    assert lanes.processor.stats.deleted == 7
    assert TRIAL.changelog not in asked[0]


async def test_a_recovery_whose_end_went_unnoticed_ends_the_process(
    lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker would keep partitions that it does not read."""
    await lanes.on_rebalance({CHANGELOG, ITEMS}, 1)
    monkeypatch.setattr("streams.lane.sources.RESUMED_WITHIN_S", 0.0)
    app = lanes._app
    for app.rebalancing, app.in_recovery, settled in (
        (False, False, True), (True, True, False), (True, False, False), (False, False, True), (True, False, False),
    ):  # fmt: skip
        assert lanes.sources.is_settled() is settled
    with pytest.raises(NotResumed):
        lanes.sources.is_settled()


async def test_what_was_given_away_and_is_not_under_way_is_missing(lanes: Lanes) -> None:
    commands, account = TP("trial.account.commands", 3), TP("trial.account", 3)
    positions = {ITEMS: 29, commands: 30, account: 0}
    assert lanes.sources.missing(positions, set()) == {ITEMS: 29}
    assert lanes.sources.missing(positions, {ITEMS}) == {}


async def test_a_question_for_positions_ends_with_its_generation(lanes: Lanes) -> None:
    """It would seek, and open copies, of partitions that are not ours any more."""
    await lanes.on_rebalance({CHANGELOG, ITEMS}, 1)
    asked = lanes.sources._positions = asyncio.create_task(asyncio.sleep(60, None))  # type: ignore[assignment]
    await lanes.on_rebalance(set(), 2)
    await asyncio.sleep(0)
    assert asked.cancelled()
