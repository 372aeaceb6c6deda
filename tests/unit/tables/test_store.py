"""Local state of a partition."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tables.age import STALE_S
from tables.store import PartitionStore, Stores


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
    """However often it was opened since: what counts is when the changelog stood where it stands."""
    stores = Stores(tmp_path)
    for partition, age in ((0, STALE_S + 60), (1, STALE_S - 60)):
        stores[partition].write({b"a": b"1"}, 10, time.time() - age)
    stores.keep(())
    assert (stores[0].offset, stores[1].offset) == (None, 10)
    assert stores[0].get(b"a") is None
    stores.keep(())


def test_a_copy_of_the_future_is_forgotten(tmp_path: Path) -> None:
    """It was written under a clock that is set back since; as young as it looks it was kept for as long."""
    stores = Stores(tmp_path)
    for partition, ahead in ((0, 7_200), (1, 60)):
        stores[partition].write({b"a": b"1"}, 10, time.time() + ahead)
    stores.keep(())
    assert (stores[0].offset, stores[1].offset) == (None, 10)
    stores.keep(())


@pytest.mark.parametrize("victim", ["CURRENT", "MANIFEST-*", "*.sst"])
@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_broken_copy_is_built_anew(tmp_path: Path, victim: str, content: bytes | None) -> None:
    """After a power loss, or what was killed while it deleted the copy: every later start failed."""
    stores = Stores(tmp_path)
    stores[0].write({b"a": b"1"}, 10)
    for _ in range(2):  # what is flushed becomes a table file when the copy is opened again
        stores.keep(())
        assert stores[0].offset == 10
    stores.keep(())
    for path in (tmp_path / "p0").glob(victim):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    assert (stores[0].offset, stores[0].get(b"a")) == (None, None)
    stores.keep(())


def test_a_copy_that_is_in_use_or_denied_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tables.store.LOCK_WAIT_S", 0.0)
    stores = Stores(tmp_path)
    stores[0].write({b"a": b"1"}, 10)
    with pytest.raises(Exception, match="lock"):
        Stores(tmp_path)[0]
    assert stores[0].get(b"a") == b"1"
    stores.keep(())
    assert stores[0].offset == 10
    stores.keep(())


def test_a_copy_is_wiped_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in the middle, the next one finds nothing of it."""
    stores = Stores(tmp_path)
    stores[0].write({b"a": b"1"}, 10)
    monkeypatch.setattr(shutil, "rmtree", lambda path, **options: None)
    stores.wipe(0)
    assert stores[0].offset is None
    stores[0].write({b"b": b"1"}, 3)
    monkeypatch.undo()
    stores.wipe(0)
    assert [path.name for path in tmp_path.iterdir()] == []
