"""The trial worker with one injected fault, named by ``GUARD``: what the lanes' guards are for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError

from streams.aggregate import Domain
from streams.kafka.transactions import TransactionalWriter
from streams.lane import faust_transport
from streams.lane.faust_transport import BatchConsumer
from streams.lane.lane import Lane
from streams.lane.lanes import Lanes
from streams.lane.sources import Sources
from tests.support import trial_worker
from tests.support.trial import TRIAL


def lose_a_batch() -> None:
    """The first batch of each partition that was fetched never reaches its lane."""
    messages, lost = BatchConsumer._messages, []

    def losing(self: Any, records: Any, generation: int) -> Any:
        found = messages(self, records, generation)
        for place in found:
            if place[0].topic == "trial.item" and place[1].value and place[0] not in [tp for tp, _ in lost]:
                lost.append(place)
        return [place for place in found if place not in lost]

    BatchConsumer._messages = losing  # type: ignore[method-assign]


def wait_while_recovery_ends() -> None:
    """The agent is busy with the first batch while Faust finds committed offsets, and resumes the flow."""
    seek, submit = BatchConsumer.perform_seek, Lanes.submit
    submitted: list[Any] = []

    async def seeking(self: Any) -> None:
        await seek(self)
        await asyncio.sleep(2)

    async def submitting(self: Lanes, message: Any) -> None:
        submitted.append(message)
        if len(submitted) == 1:
            await asyncio.sleep(4)
        await submit(self, message)

    BatchConsumer.perform_seek = seeking  # type: ignore[method-assign]
    Lanes.submit = submitting  # type: ignore[method-assign]


def come_too_early() -> None:
    """Records reach a lane before its state is whole."""
    find, calls = Sources._find_positions, []

    async def finding(self: Sources) -> Any:
        calls.append(self)
        stores = [self._stores[partition] for partition in self.partitions]
        offsets = [store.offset for store in stores]
        if len(calls) == 1:
            for store in stores:
                store.offset = None
        try:
            return await find(self)
        finally:
            for store, offset in zip(stores, offsets, strict=True):
                store.offset = offset

    Sources._find_positions = finding  # type: ignore[method-assign]


def fail_once() -> None:
    """A lane's transaction fails."""
    mark = os.environ["KOUNTER_DATA_DIR"] + "/failed"
    commit = Lane._commit

    def fail() -> None:
        if not os.path.exists(mark):
            with open(mark, "w"):
                raise RuntimeError("injected")

    async def failing(self: Lane, *work: Any) -> Any:
        committed = await commit(self, *work)
        fail()
        return committed

    Lane._commit = failing  # type: ignore[method-assign]


def fail_to_fence() -> None:
    """The first lane of a worker can't be fenced."""
    start, failed = TransactionalWriter.start, os.environ["KOUNTER_DATA_DIR"] + "/failed"
    is_first = not os.path.exists(failed)

    async def failing(self: TransactionalWriter) -> None:
        if is_first:
            raise KafkaError("injected")
        await start(self)

    with open(failed, "w"):
        pass

    TransactionalWriter.start = failing  # type: ignore[method-assign]


def miss_the_brokers() -> None:
    """They answer nothing while the first recovery asks where sources go on, for longer than it may take."""
    seek, in_time = BatchConsumer.perform_seek, faust_transport._wait_in_time
    missed = os.environ["KOUNTER_DATA_DIR"] + "/missed"
    is_first = not os.path.exists(missed)

    async def seeking(self: Any) -> None:
        await asyncio.sleep(600 if is_first else 0)
        await seek(self)

    async def hurrying(self: Any, coro: Any, timeout: float | None = None) -> None:
        await in_time(self, coro, timeout and 3.0)

    with open(missed, "w"):
        pass

    BatchConsumer.perform_seek = seeking  # type: ignore[method-assign]
    faust_transport._wait_in_time = hurrying


def older_version() -> None:
    """A release before the one that brought accounts: it knows only items."""
    items, _ = TRIAL.aggregates
    trial_worker.TRIAL = Domain(TRIAL.name, (items,), TRIAL.outboxes)


def forget_the_changelog() -> None:
    """What the brokers answer at first leaves a topic out, as seen of one that had just started."""
    mark = os.environ["KOUNTER_DATA_DIR"] + "/remembered"
    known = ClusterMetadata.partitions_for_topic

    def forgetting(self: ClusterMetadata, topic: str) -> Any:
        return known(self, topic) if topic != TRIAL.changelog or os.path.exists(mark) else None

    ClusterMetadata.partitions_for_topic = forgetting


FAULTS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        lose_a_batch, wait_while_recovery_ends, come_too_early, fail_once, fail_to_fence, miss_the_brokers,
        older_version, forget_the_changelog,
    )
}  # fmt: skip

if __name__ == "__main__":
    FAULTS[os.environ["GUARD"]]()
    trial_worker.main()
