"""The read side: the tables' states in a SQLite file, with the Kafka offsets that they stand at.

One SQL table an aggregate (``estate_lead``), one column a field, so that analysts can ask it with plain SQL: money is
exact text, with a column of whole cents beside it that sorts (``price_cents``), a time is an integer of microseconds
UTC, a list is JSON. Rows and offsets go in one transaction: after any
crash the view reads on from where its rows are.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from loguru import logger

from schemas.errors import BrokenSetup, InvalidInput
from tables.layout import Layout, State
from tables.listing import Listing
from tables.view_find import Find
from tables.view_query import Query, read_only, within
from tables.view_table import ViewTable, require_sqlite

STALE_S: Final = 5 * 86_400
"""A file that was not fed for so long is built anew: the changelog may have forgotten deletions (kept for 7 days)."""
AHEAD_S: Final = 3_600.0
"""One that was fed so long ahead of now, under a clock that is set back since, has no known age."""
BROKEN: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
FORM: Final = 4
"""Version of what the file means, apart from its tables; another number builds it anew."""
FIND_S: Final = 10.0
"""Seconds that one question to a table may take. A filter without an index reads the whole table, and a few dozen such
questions at once would hold up all others."""
OWN_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS offsets (topic TEXT, partition INTEGER, next INTEGER, fed_at INTEGER,"
    " PRIMARY KEY (topic, partition))",
    "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT)",
)


class Change(NamedTuple):
    """A state that is new; None: deleted."""

    aggregate: str
    ext_id: str
    state: State | None


class Page(NamedTuple):
    """A part of a list, and where the next one begins."""

    rows: list[dict[str, Any]]
    after: tuple[Any, str] | None
    total: int | None = None
    """Rows of all pages together, where `Find.count` asked for it."""


class View:
    """One file, of one process. Writing is for one thread, reading for any. Raises BrokenSetup if it is in use."""

    def __init__(
        self, path: Path, layouts: Mapping[str, Layout], listings: Mapping[str, Listing] = MappingProxyType({})
    ) -> None:
        """``layouts`` and ``listings`` by aggregate. Raises BrokenSetup also if this Python's SQLite lacks what the
        view needs, TypeError if a listing names what is no field."""
        self._path, self.layouts = path, dict(layouts)
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._tables = {t: ViewTable(layout, listings.get(t, Listing())) for t, layout in self.layouts.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = path.with_suffix(".lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # two feeds of one file would each skip what the other wrote
            self._lock.close()
            raise BrokenSetup(
                f"another process feeds the view {path}", hint="Give each gateway a KOUNTER_DATA_DIR of its own."
            ) from None
        self._discard_old()
        self._writer = self._connect()
        require_sqlite(self._writer)
        self._writer.execute("PRAGMA cache_size = -65536")  # KiB; with the default 2 MB the indexes halve the speed
        with self._writing():
            self._create()

    def close(self) -> None:
        """For good; nothing may be reading any more."""
        for db in self._open:
            db.close()
        self._lock.close()

    def belongs_to(self, cluster: str) -> bool:
        """Whether it was built from this Kafka cluster; a new one says yes to the first that asks."""
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO about VALUES ('cluster', ?)", (cluster,))
            return bool(db.execute("SELECT value FROM about WHERE name = 'cluster'").fetchone()[0] == cluster)

    def offsets(self) -> dict[tuple[str, int], int]:
        """The next offset of each changelog partition, by topic and partition."""
        rows = self._reader().execute("SELECT topic, partition, next FROM offsets")
        return {(row["topic"], row["partition"]): row["next"] for row in rows}

    def apply(self, changes: Iterable[Change], offsets: Mapping[tuple[str, int], int]) -> None:
        """States and where they stand, in one transaction. Of several states of a key the last one counts."""
        latest = {(change.aggregate, change.ext_id): change.state for change in changes}
        by_aggregate: dict[str, list[tuple[str, State | None]]] = {}
        for (aggregate, ext_id), state in latest.items():
            by_aggregate.setdefault(aggregate, []).append((ext_id, state))
        with self._writing() as db:
            for aggregate, states in by_aggregate.items():
                self._tables[aggregate].apply(db, states)
            db.executemany(
                "INSERT INTO offsets VALUES (?, ?, ?, ?) ON CONFLICT (topic, partition)"
                " DO UPDATE SET next = excluded.next, fed_at = excluded.fed_at",
                [(topic, partition, offset, int(time.time())) for (topic, partition), offset in offsets.items()],
            )

    def get(self, aggregate: str, ext_id: str) -> dict[str, Any] | None:
        """A state's fields that are known, by name. Raises InvalidInput for an aggregate that does not exist."""
        table = self._known(aggregate)
        query = f"SELECT {table.columns} FROM {table.name} WHERE ext_id = ?"  # noqa: S608 - names of ours
        row = self._reader().execute(query, (ext_id,)).fetchone()
        return None if row is None else table.document(row)

    def document(self, aggregate: str, state: State | None) -> dict[str, Any] | None:
        """What `get` answers once the view has this state; None for one that has not come, or is deleted."""
        if state is None or not state.version:
            return None
        kinds = self.layouts[aggregate].kinds
        known = ((name, value) for name, value in zip(kinds, state, strict=False) if value is not None)
        return {name: list(value) if kinds[name] == "array" else value for name, value in known}

    def find(self, aggregate: str, wanted: Find) -> Page:
        """A page of the states that are ``wanted``; page and count are of one moment. Raises InvalidInput for an
        aggregate, field, order or search that does not exist, QueryTooLarge after `FIND_S` seconds."""
        table = self._known(aggregate)
        query, values = wanted.sql(table)
        db, total = self._reader(), None
        with within(db, FIND_S), _one_moment(db):
            rows = db.execute(query, values).fetchall()
            if wanted.count:
                total = db.execute(*wanted.count_sql(table)).fetchone()[0]
        last = rows[wanted.limit - 1] if len(rows) > wanted.limit else None
        place = None if last is None else (last["_place"], last["ext_id"])
        return Page([table.document(row) for row in rows[: wanted.limit]], place, total)

    def ask(self, query: Query, **values: Any) -> list[dict[str, Any]]:
        """The rows of a query over several tables. Raises as `Query.run` does."""
        return query.run(self._reader(), values)

    def counts(self) -> dict[str, int]:
        """States by aggregate."""
        db = self._reader()
        return {t: db.execute(f"SELECT count(*) FROM {of.name}").fetchone()[0] for t, of in self._tables.items()}  # noqa: S608

    def reset(self, cluster: str | None = None) -> None:
        """Forget all: the changelog is another one, or that of another ``cluster``."""
        with self._writing() as db:
            db.execute("DELETE FROM offsets")  # first: it opens the transaction, which a DROP does not
            for table in self._tables.values():  # rows would be taken out of a text index one by one
                for statement in table.drop:
                    db.execute(statement)
            if cluster is not None:
                db.execute("INSERT OR REPLACE INTO about VALUES ('cluster', ?)", (cluster,))
            self._create()

    def _known(self, aggregate: str) -> ViewTable:
        if aggregate not in self._tables:
            raise InvalidInput("aggregate", f"one of {', '.join(self.layouts)}", aggregate)
        return self._tables[aggregate]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. A file that turns out to be broken is deleted: the next start builds it anew."""
        try:
            with self._writer as db:
                yield db
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "").startswith(BROKEN):
                logger.error("the view {} is broken, the next start builds it anew: {}", self._path, error)
                self._delete()
            raise

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False, timeout=30)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power loss may cost the last rows and their offsets together
        self._open.append(db)
        return db

    def _reader(self) -> sqlite3.Connection:
        """One connection a thread, which can only read."""
        if not hasattr(self._local, "db"):
            self._local.db = read_only(self._connect())
        db: sqlite3.Connection = self._local.db
        return db

    def _create(self) -> None:
        self._writer.execute(f"PRAGMA user_version = {self._version()}")
        for statement in self._statements():
            self._writer.execute(statement)

    def _statements(self) -> list[str]:
        return [*OWN_TABLES, *(statement for table in self._tables.values() for statement in table.ddl)]

    def _version(self) -> int:
        """Stands for all tables, indexes and searches; another one means another file."""
        return zlib.crc32(json.dumps([FORM, sorted(self._statements())]).encode()) & 0x7FFFFFFF

    def _discard_old(self) -> None:
        """Delete a file with other columns, or one that was not fed for long."""
        if not self._path.exists():
            return
        try:
            with closing(sqlite3.connect(self._path)) as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                fed_at = db.execute("SELECT max(fed_at) FROM offsets").fetchone()[0] or time.time()
            usable = version == self._version() and -AHEAD_S < time.time() - fed_at < STALE_S
        except sqlite3.DatabaseError:
            usable = False
        if not usable:
            logger.info("the view {} is of another layout or too old: building it anew", self._path)
            self._delete()

    def _delete(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _one_moment(db: sqlite3.Connection) -> Iterator[None]:
    """All that is read inside is of one moment, whatever is written meanwhile."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.rollback()
