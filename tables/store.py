"""Local state: one RocksDB per partition, over all aggregates of the domain.

States and the changelog offset they belong to are written in one `WriteBatch`, after Kafka has them: local state is
never ahead of Kafka, and after a crash it is at most behind, by what recovery then reads again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from loguru import logger
from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch

from tables.age import is_usable

OFFSET_KEY, AS_OF_KEY = b"\0offset", b"\0as-of"
"""No state's key starts with a zero byte: keys are ``<aggregate>\\0<ext_id>``."""

LOCK_WAIT_S: Final = 10.0
"""Seconds that a new owner waits for the lock of a process that is stopping."""

BROKEN: Final = ("Corruption", "No such file or directory")
"""Texts by which RocksDB's errors report unreadable files."""

_cache: Final = Cache(64 << 20)
"""One block cache for all databases of the process; RocksDB's own default would be 2 GiB each."""


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_max_open_files(128)
    options.set_write_buffer_size(16 << 20)
    table = BlockBasedOptions()
    table.set_block_cache(_cache)
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return options


class PartitionStore:
    """The states of one partition. Keys and values are bytes; a value of None deletes."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._db = _open(path)
        self.get = self._db.get
        offset = self._db.get(OFFSET_KEY)
        self.offset: int | None = None if offset is None else int(offset)
        """Changelog offset that the states include, commit marker included; None for an empty copy."""
        self.as_of = float(self._db.get(AS_OF_KEY) or 0)
        """Time of that offset, in seconds since the epoch."""

    def write(self, states: Mapping[bytes, bytes | None], offset: int, as_of: float | None = None) -> None:
        """Write states and offset atomically. ``as_of``: seconds since the epoch; None: now."""
        as_of = time.time() if as_of is None else as_of
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        for key, value in states.items():
            if value is None:
                batch.delete(key)
            else:
                put(key, value)
        put(OFFSET_KEY, b"%d" % offset)
        put(AS_OF_KEY, b"%d" % as_of)
        self._db.write(batch)
        self.offset, self.as_of = offset, as_of

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """Returns all states; for checks."""
        items: Iterable[Any] = self._db.items()
        return ((key, value) for key, value in items if not key.startswith(b"\0"))

    def scan(self, prefix: bytes, start: bytes | None = None) -> Iterable[tuple[bytes, bytes]]:
        """Returns keys that begin with ``prefix``, ascending from ``start`` or from the first, with their values."""
        items: Iterable[Any] = self._db.items(from_key=start or prefix)
        return takewhile(lambda item: item[0].startswith(prefix), items)

    def close(self) -> None:
        """Release the lock at once; Faust leaves that to the garbage collector."""
        self._db.close()


def _open(path: Path) -> Rdict:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return Rdict(str(path), _options())
        except Exception as error:
            if "lock" not in str(error).lower() or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def is_broken(error: BaseException) -> bool:
    """Returns whether an error of RocksDB, which raises plain exceptions, means unreadable files."""
    return type(error) is Exception and any(word in str(error) for word in BROKEN)


class Stores:
    """The partition stores of one worker, opened on first use."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[int, PartitionStore] = {}
        self.begins: dict[int, int] = {}
        """First offset of each partition's changelog, where an empty copy begins."""

    def __getitem__(self, partition: int) -> PartitionStore:
        store = self._open.get(partition)
        if store is None:
            store = self._open[partition] = self._usable(partition, self._root / f"p{partition}")
        return store

    def _usable(self, partition: int, path: Path) -> PartitionStore:
        """Returns the copy; an empty one in place of one that is broken, as after a power loss, or old."""
        try:
            store = PartitionStore(path)
            if store.offset is None or is_usable(store.as_of):
                return store
            store.close()
            logger.info("partition {}: the local state is old, rebuilding it", partition)
        except Exception as error:
            if not is_broken(error):
                raise
            logger.error("partition {}: the local state is broken, rebuilding it: {}", partition, error)
        self.wipe(partition)
        return PartitionStore(path)

    def __contains__(self, partition: int) -> bool:
        return partition in self._open

    def keep(self, partitions: Iterable[int]) -> None:
        """Close the stores of all other partitions."""
        for partition in self._open.keys() - set(partitions):
            self._open.pop(partition).close()

    def wipe(self, partition: int) -> None:
        """Delete the local copy; recovery rebuilds it from the changelog. It is renamed first, as RocksDB may open the
        rest of a half-deleted copy."""
        if (store := self._open.pop(partition, None)) is not None:
            store.close()
        path, aside = self._root / f"p{partition}", self._root / f"p{partition}.wiped"
        shutil.rmtree(aside, ignore_errors=True)
        if path.exists():
            path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)

    def drop_ahead(self, ends: Mapping[int, int]) -> None:
        """Wipe every copy that is ahead of its changelog, whose log ends at ``ends[partition]``.

        This happens after the brokers lost data (power loss with one replica) or the changelog was created again.
        """
        for partition, end in ends.items():
            store = self[partition]
            if store.offset is not None and store.offset >= end:
                logger.error(
                    "partition {}: local state at {} is ahead of the changelog, which ends at {}: rebuilding it",
                    partition, store.offset, end,
                )  # fmt: skip
                self.wipe(partition)
