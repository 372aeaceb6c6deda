"""The view's file: it is built anew where it is of another form, broken, too old or of another cluster."""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from schemas.errors import BrokenSetup
from tables import view as module
from tables.age import STALE_S
from tables.listing import Listing
from tables.view import Change, View
from tables.view_find import Find
from tables.view_table import SQL_TYPES, require_sqlite
from tests.unit.tables.views import LAYOUTS, LEADS, PREMISES, opened, put, state

LOG = ("estate-state-changelog", 0)


def test_another_layout_builds_the_file_anew_and_the_same_one_keeps_it(tmp_path: Path) -> None:
    for layouts, expected in ((LAYOUTS, {}), (LAYOUTS, {LOG: 5}), ({LEADS: LAYOUTS[LEADS]}, {})):
        with opened(tmp_path, layouts) as view:
            assert view.offsets() == expected
            put(view, state(LEADS, "l1"))
            view.apply([], {LOG: 5})


def test_a_file_that_was_not_fed_for_long_is_built_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as view:
        view.apply([Change(LEADS, "l1", state(LEADS, "l1"))], {LOG: 1})
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + STALE_S - 60)
    with opened(tmp_path) as view:
        assert view.offsets() == {LOG: 1}
    for other in (now + STALE_S + 60, now - 7_200):  # fed under a clock that is set back since: of no known age
        monkeypatch.setattr(module.time, "time", lambda other=other: other)
        with opened(tmp_path) as view:
            assert (view.offsets(), view.counts()[LEADS]) == ({}, 0)
        monkeypatch.setattr(module.time, "time", lambda: now)
        with opened(tmp_path) as view:
            view.apply([Change(LEADS, "l1", state(LEADS, "l1"))], {LOG: 1})


@pytest.mark.parametrize("content", [b"", b"not a database" * 100, b"SQLite format 3\0" + b"\xff" * 4_000])
def test_a_broken_file_is_built_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "view.sqlite").write_bytes(content)
    with opened(tmp_path) as view:
        put(view, state(LEADS, "l1"))
        assert view.counts()[LEADS] == 1


def test_a_file_that_breaks_within_is_built_anew_by_the_next_start(tmp_path: Path) -> None:
    """Its beginning was whole, so each start fed it again, and ended again."""
    leads = [state(LEADS, f"l{n}", 1) for n in range(5_000)]
    with opened(tmp_path) as view:
        put(view, *leads)
    path = tmp_path / "view.sqlite"
    with path.open("r+b") as file:
        for at in range(100 * 4_096, path.stat().st_size, 3 * 4_096):
            file.seek(at)
            file.write(b"\xff" * 4_096)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"), opened(tmp_path) as view:
        put(view, *leads)
    with opened(tmp_path) as view:
        put(view, *leads)
        assert view.counts()[LEADS] == len(leads)


def test_a_file_of_another_cluster_is_told_and_forgotten(tmp_path: Path) -> None:
    with opened(tmp_path) as view:
        assert view.belongs_to("one")
        view.apply([Change(LEADS, "l1", state(LEADS, "l1"))], {LOG: 1})
    with opened(tmp_path) as view:
        assert view.belongs_to("one")
        assert not view.belongs_to("two")
        view.reset("two")
        assert (view.offsets(), view.counts()[LEADS]) == ({}, 0)
        assert view.belongs_to("two")


def test_one_process_feeds_a_file(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(BrokenSetup, match="another process feeds the view"):
        View(tmp_path / "view.sqlite", LAYOUTS)
    with opened(tmp_path) as view:
        assert view.offsets() == {}


def old_file(path: Path) -> None:
    """A view as the version before wrote it: form 3, with rows that were replaced and one index a column."""
    columns = {t: {n: SQL_TYPES.get(kind, "TEXT") for n, kind in of.kinds.items()} for t, of in LAYOUTS.items()}
    version = zlib.crc32(json.dumps([3, columns], sort_keys=True).encode()) & 0x7FFFFFFF
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA user_version = {version}")
        db.execute(
            "CREATE TABLE offsets (topic TEXT, partition INTEGER, next INTEGER, fed_at INTEGER,"
            " PRIMARY KEY (topic, partition))"
        )
        db.execute("CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT)")
        for topic, names in columns.items():
            typed = ", ".join(f'"{name}" {kind}' for name, kind in names.items())
            db.execute(f"CREATE TABLE {topic.replace('.', '_')} ({typed}, PRIMARY KEY (ext_id))")
        db.execute("CREATE INDEX estate_premise_price ON estate_premise (price, ext_id)")
        db.execute("INSERT INTO estate_premise (ext_id, version, changed_at, name) VALUES ('p1', 1, 1, 'Old')")
        db.execute("INSERT INTO offsets VALUES ('estate-state-changelog', 0, 7, ?)", (int(time.time()),))


def test_a_file_of_the_version_before_is_built_anew_and_never_read(tmp_path: Path) -> None:
    """Its tables have the same names, so that `CREATE TABLE IF NOT EXISTS` alone would leave them as they are."""
    old_file(tmp_path / "view.sqlite")
    with opened(tmp_path) as view:
        assert (view.offsets(), view.counts()[PREMISES]) == ({}, 0)
        put(view, state(PREMISES, "p1", name="Новая"), aggregate=PREMISES)
        assert [row["name"] for row in view.find(PREMISES, Find(search="НОВ", order="ext_id")).rows] == ["Новая"]


@pytest.mark.parametrize(
    "listing",
    [
        Listing(),
        Listing(search=("name",)),
        Listing(orders=("price",)),
        Listing(indexes=(("status", "price"),)),
        Listing(covers=("status",)),
    ],
)
def test_another_listing_builds_the_file_anew(tmp_path: Path, listing: Listing) -> None:
    with opened(tmp_path) as view:
        view.apply([], {LOG: 5})
    with opened(tmp_path, listings={PREMISES: listing}) as view:
        assert view.offsets() == {}
        view.apply([], {LOG: 6})
    with opened(tmp_path, listings={PREMISES: listing}) as view:
        assert view.offsets() == {LOG: 6}


def test_a_crash_while_it_forgets_leaves_rows_and_offsets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as view:
        view.apply([Change(LEADS, "l1", state(LEADS, "l1"))], {LOG: 1})

        def crash(self: View) -> None:
            raise MemoryError

        with monkeypatch.context() as patch:
            patch.setattr(View, "_create", crash)
            with pytest.raises(MemoryError):
                view.reset()
        assert (view.offsets(), view.counts()[LEADS]) == ({LOG: 1}, 1)
        view.reset()
        put(view, state(LEADS, "l2"))
        assert (view.offsets(), view.counts()[LEADS]) == ({}, 1)


def test_a_sqlite_that_lacks_what_the_view_needs_is_told() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        require_sqlite(db)
        with pytest.raises(BrokenSetup, match=r"SQLite 3\.34 or newer, this Python has 3\.33\.0"):
            require_sqlite(db, (3, 33, 0))
        deny = sqlite3.SQLITE_CREATE_VTABLE
        db.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action == deny else sqlite3.SQLITE_OK)
        with pytest.raises(BrokenSetup, match="the view needs FTS5") as error:
            require_sqlite(db)
        assert "FTS5" in error.value.hint
