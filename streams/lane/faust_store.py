"""The store into which Faust recovers: the partition stores of `tables.store`, which lanes write."""

from __future__ import annotations

from typing import Any, Final

from faust.stores import STORES, base
from faust.types import TP

from streams.lane.batch_message import BatchMessage
from tables.store import Stores

SCHEME: Final = "kounter"


class Hole(Exception):
    """A part of a changelog was never seen. The copy is wiped, so that it is read whole from its start."""

    def __init__(self, tp: TP, seen: int, base: int) -> None:
        super().__init__(f"{tp.topic} {tp.partition}: read up to {seen}, then from {base} on")


class StateStore(base.SerializedStore):  # type: ignore[misc]
    """Store that Faust recovers and keeps on standby. The lane writes past it, to the `PartitionStore`."""

    @property
    def _stores(self) -> Stores:
        stores: Stores = self.app.lanes.stores
        return stores

    def persisted_offset(self, tp: TP) -> int:
        """Returns the offset of the copy, -1 for an empty one: with None, Faust goes on where this process once stood,
        before the copy was wiped.
        """
        offset = self._stores[tp.partition].offset
        return -1 if offset is None else offset

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        """Do nothing: `PartitionStore.write` keeps the offset with the states."""

    async def need_active_standby_for(self, tp: TP) -> bool:
        return True

    def apply_changelog_batch(self, batch: Any, to_key: Any, to_value: Any) -> None:
        """Write changelog records to the local copy. Ends the process if that fails, above all on a full disk: Faust
        would log the error, keep the batches in memory and read on.
        """
        try:
            self._apply([event.message for event in batch])
        except Exception as error:
            self.app.lanes.fail(batch[0].message.partition, error)

    def _apply(self, messages: list[BatchMessage]) -> None:
        """Records at or below the offset of the copy are skipped, so an older state never covers a newer one. Raises
        Hole."""
        by_partition: dict[int, tuple[dict[bytes, bytes | None], int, float]] = {}
        for message in messages:
            partition = message.partition
            if partition not in self._stores:
                continue  # given up meanwhile: a copy that is created now would begin in the middle
            if partition not in by_partition:
                store = self._stores[partition]
                by_partition[partition] = ({}, -1 if store.offset is None else store.offset, store.as_of)
            states, seen, as_of = by_partition[partition]
            if message.base > (seen + 1 if seen >= 0 else self._stores.begins.get(partition, 0)):
                self._stores.wipe(partition)
                raise Hole(message.tp, seen, message.base)
            for record in message.value:
                if record.offset > seen:
                    states[record.key] = record.value
                    as_of = record.timestamp / 1000
            by_partition[partition] = (states, max(seen, message.offset), as_of)
        for partition, (states, offset, as_of) in by_partition.items():
            self._stores[partition].write(states, offset, as_of)

    async def on_rebalance(self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0) -> None:
        """Fence the former owners: Faust calls this before it reads persisted offsets and recovers."""
        await self.app.lanes.on_rebalance(assigned, generation_id)

    async def stop(self) -> None:
        self._stores.keep(())

    def reset_state(self) -> None:
        """Do nothing: there is no state outside of the stores."""

    def _unused(self, *args: Any) -> Any:
        raise NotImplementedError("states are read through the lane, the view or the changelog")

    backup_partition = restore_backup = _unused
    _get = _set = _del = _iterkeys = _itervalues = _iteritems = _size = _contains = _clear = _unused


def install() -> None:
    """Register ``store='kounter://'`` in Faust."""
    STORES.aliases[SCHEME] = f"{__name__}:StateStore"
