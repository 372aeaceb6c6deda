"""Local state of a partition."""

from __future__ import annotations

import os
import time
from pathlib import Path

from streams.store import STALE_S, PartitionStore, Stores


def test_states_and_offset_survive_a_restart(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path / "p0")
    store.write({b"a": b"1", b"b": b"2"}, 7)
    store.write({b"a": None}, 9)
    store.close()
    again = PartitionStore(tmp_path / "p0")
    assert (again.get(b"a"), again.get(b"b"), again.offset) == (None, b"2", 9)
    assert dict(again.items()) == {b"b": b"2"}
    again.close()


def test_a_copy_that_is_ahead_of_its_changelog_is_forgotten(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    for partition in (0, 1):
        stores[partition].write({b"a": b"1"}, 10)
    stores.drop_ahead({0: 10, 1: 11})
    assert (stores[0].offset, stores[1].offset) == (None, 10)
    stores.keep(())


def test_a_copy_that_may_have_missed_deletions_is_forgotten(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    for partition in (0, 1):
        stores[partition].write({b"a": b"1"}, 10)
    stores.keep(())
    old = time.time() - STALE_S - 60
    for path in (tmp_path / "p0", *(tmp_path / "p0").iterdir()):
        os.utime(path, (old, old))
    assert (stores[0].offset, stores[1].offset) == (None, 10)
    stores.keep(())
