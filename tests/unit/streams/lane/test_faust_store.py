"""Faust's recovery and standby on our stores: nothing of a changelog is passed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.app import DomainApp, create_app
from streams.kafka.settings import KafkaSettings
from streams.lane.settings import LaneSettings
from tests.support.trial import TRIAL

PLACE = TP(TRIAL.changelog, 3)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[DomainApp]:
    serde: Any = None
    made = create_app(TRIAL, serde, KafkaSettings(bootstrap_servers="127.0.0.1:1"), LaneSettings(), tmp_path)
    yield made
    made.lanes.stores.keep(())


def event(base: int, *offsets: int, place: TP = PLACE) -> Any:
    """A changelog's batch that covers offsets from ``base`` to the last one."""
    records = [SimpleNamespace(key=b"a\0%d" % n, value=b"[]", offset=n, timestamp=n * 1_000) for n in offsets]
    message = SimpleNamespace(tp=place, partition=place.partition, value=records, base=base, offset=offsets[-1])
    return SimpleNamespace(message=message)


def state_store(app: DomainApp) -> Any:
    (table,) = app.tables.values()
    return table.data


async def test_what_is_on_its_way_is_not_thrown_away_when_the_flow_is_resumed(app: DomainApp) -> None:
    """Faust resumes it once more after sources and standbys are read: their queues were emptied. Records stood unread;
    copies had holes and, once promoted, lacked states."""
    (agent,) = app.agents.values()
    for queue in (app.tables.changelog_queue, agent.channel.queue):
        app.flow_control.resume()
        queue.put_nowait(event(0, 1))
        app.flow_control.resume()
        assert queue.qsize() == 1


async def test_faust_drops_nothing_that_it_takes_for_known(app: DomainApp) -> None:
    """A topic that was cut short is read from its start: what stood there never reached the lane, which tells."""
    known = app.consumer._read_offset
    known[PLACE] = 99
    assert known[PLACE] is None
    assert list(known) == [PLACE], "Faust forgets those that are given up"


async def test_a_copy_that_was_wiped_is_read_from_the_start(app: DomainApp) -> None:
    """Not from where the partition stood in an earlier generation of this process."""
    stores, recovery = app.lanes.stores, app.tables.recovery
    (table,) = app.tables.values()
    stores[PLACE.partition].write({b"a\0b": b"[]"}, 100)
    recovery.add_active(table, PLACE)
    assert recovery.active_offsets[PLACE] == 100
    stores.drop_ahead({PLACE.partition: 50})
    recovery.add_active(table, PLACE)
    assert recovery.active_offsets[PLACE] == -1


class Ended(Exception):
    """Instead of the process."""


@pytest.fixture
def ending(app: DomainApp, monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What `Lanes.fail` was called with."""
    errors: list[BaseException] = []

    def fail(partition: int, error: BaseException) -> None:
        errors.append(error)
        raise Ended

    monkeypatch.setattr(app.lanes, "fail", fail)
    return errors


async def test_a_part_that_was_never_seen_wipes_the_copy_and_ends_the_process(app: DomainApp, ending: Any) -> None:
    stores = app.lanes.stores
    stores[PLACE.partition].write({b"a\0b": b"[]"}, 4)
    state_store(app).apply_changelog_batch([event(4, 4, 5), event(6, 7)], bytes, bytes)
    assert (stores[PLACE.partition].offset, stores[PLACE.partition].as_of) == (7, 7)
    with pytest.raises(Ended):
        state_store(app).apply_changelog_batch([event(8, 8), event(11, 11)], bytes, bytes)
    assert "read up to 8, then from 11 on" in str(ending[0])
    assert stores[PLACE.partition].offset is None


async def test_an_empty_copy_begins_where_the_log_does(app: DomainApp, ending: Any) -> None:
    assert state_store(app).persisted_offset(PLACE) == -1
    app.lanes.stores.begins = {PLACE.partition: 500}
    state_store(app).apply_changelog_batch([event(500, 501)], bytes, bytes)
    assert app.lanes.stores[PLACE.partition].offset == 501
    assert not ending


async def test_a_copy_that_would_begin_in_the_middle_ends_the_process(app: DomainApp, ending: Any) -> None:
    """With batches left from an earlier generation it was taken for whole, and lacked what stood before them."""
    assert state_store(app).persisted_offset(PLACE) == -1
    with pytest.raises(Ended):
        state_store(app).apply_changelog_batch([event(500, 501)], bytes, bytes)
    assert "read up to -1, then from 500 on" in str(ending[0])


async def test_a_recovery_that_takes_too_long_is_an_error(app: DomainApp) -> None:
    """mode takes its time-out for a stop: it ended without a word, and its partitions were read no more."""
    recovery = app.tables.recovery
    with pytest.raises(TimeoutError):
        await recovery._wait(asyncio.sleep(60), timeout=0.01)
    await recovery._wait(asyncio.sleep(0), timeout=5)


async def test_a_partition_that_was_given_up_gets_no_copy(app: DomainApp) -> None:
    state_store(app).apply_changelog_batch([event(500, 501)], bytes, bytes)
    assert PLACE.partition not in app.lanes.stores


async def test_a_copy_that_can_not_be_written_ends_the_process(
    app: DomainApp, ending: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust only logs it, and reads on."""
    store = app.lanes.stores[PLACE.partition]

    def full(states: Any, offset: int, as_of: float | None = None) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(store, "write", full)
    with pytest.raises(Ended):
        state_store(app).apply_changelog_batch([event(0, 1)], bytes, bytes)
    assert "No space left" in str(ending[0])
