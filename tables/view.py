"""The read side: the tables' states in a SQLite file, with the Kafka offsets that they stand at.

One SQL table an aggregate (``estate_lead``), one column a field, so that analysts can query it with plain SQL: money is
exact text, with a column of whole cents beside it that sorts (``price_cents``), a time is an integer of microseconds
UTC, a list is JSON. Rows and offsets go in one transaction: after a crash the view resumes at the offsets of its rows.
"""

from __future__ import annotations

import fcntl
import json
import secrets
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from loguru import logger

from schemas.errors import BrokenSetup, InvalidInput
from tables.age import is_usable
from tables.layout import Layout, State
from tables.listing import Listing
from tables.view_find import Find
from tables.view_query import Query, read_only, within
from tables.view_table import ViewTable, require_sqlite

BROKEN: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
FORM: Final = 4
"""Version of the file's meaning, apart from its tables; a file of another version is rebuilt."""
FIND_S: Final = 10.0
"""Seconds that one query of a table may take. A filter without an index reads the whole table, and a few dozen such
queries at once would delay all others."""
OWN_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS offsets (topic TEXT, partition INTEGER, next INTEGER, fed_at INTEGER,"
    " PRIMARY KEY (topic, partition))",
    "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT)",
    "CREATE TABLE IF NOT EXISTS changes (aggregate TEXT PRIMARY KEY, count INTEGER)",
)


COUNT: Final = (
    "INSERT INTO changes VALUES (?, ?) ON CONFLICT (aggregate) DO UPDATE SET count = changes.count + excluded.count"
)
TAG: Final = (
    "SELECT (SELECT value FROM about WHERE name = 'born') || '-' || coalesce(sum(count), 0) FROM changes"
    " WHERE aggregate IN (SELECT value FROM json_each(?))"
)
"""The number of changes, with the name of the file's content: other files, and this one after a rebuild, count other
changes."""


class Change(NamedTuple):
    """A new state of a key; None: deleted."""

    aggregate: str
    ext_id: str
    state: State | None


class Page(NamedTuple):
    """A page of a list, and where the next one begins."""

    rows: list[dict[str, Any]]
    after: tuple[Any, str] | None
    total: int | None = None
    """Rows of all pages together, where `Find.count` asked for it."""
    tag: str = ""
    """Another text whenever the page may be another: by it, a reader keeps a page until something has changed."""
    is_known: bool = False
    """Whether the caller has the page of this tag. Then it was not read, and ``rows`` is empty."""


Known = Callable[[str], bool]
"""Returns whether a caller has the page of a tag."""


def never(tag: str) -> bool:
    """Returns that no page is known."""
    return False


class View:
    """The view's file, owned by one process. One thread may write, any thread may read. Raises BrokenSetup if it is in
    use."""

    def __init__(
        self, path: Path, layouts: Mapping[str, Layout], listings: Mapping[str, Listing] = MappingProxyType({})
    ) -> None:
        """``layouts`` and ``listings`` by aggregate. Raises BrokenSetup also if this Python's SQLite lacks a feature
        that the view needs, TypeError if a listing names an unknown field or
        aggregate."""
        self._path, self.layouts = path, dict(layouts)
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._tables = {t: ViewTable(layout, listings.get(t, Listing())) for t, layout in self.layouts.items()}
        for topic, table in self._tables.items():
            if unknown := set(table.listing.sources(topic)) - set(self.layouts):
                raise TypeError(f"{topic}: its Listing goes through {', '.join(sorted(unknown))}, which is not here")
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
        """Close the view for good, after all reads have ended."""
        for db in self._open:
            db.close()
        self._lock.close()

    def belongs_to(self, cluster: str) -> bool:
        """Returns whether the view was built from this Kafka cluster; a new view adopts the first cluster."""
        with self._writing() as db:
            db.execute("INSERT OR IGNORE INTO about VALUES ('cluster', ?)", (cluster,))
            return bool(db.execute("SELECT value FROM about WHERE name = 'cluster'").fetchone()[0] == cluster)

    def offsets(self) -> dict[tuple[str, int], int]:
        """Returns the next offset of each changelog partition, by topic and partition."""
        rows = self._reader().execute("SELECT topic, partition, next FROM offsets")
        return {(row["topic"], row["partition"]): row["next"] for row in rows}

    def apply(self, changes: Iterable[Change], offsets: Mapping[tuple[str, int], int]) -> None:
        """Write states and their offsets in one transaction. The last of several states of a key counts."""
        latest = {(change.aggregate, change.ext_id): change.state for change in changes}
        by_aggregate: dict[str, list[tuple[str, State | None]]] = {}
        for (aggregate, ext_id), state in latest.items():
            by_aggregate.setdefault(aggregate, []).append((ext_id, state))
        with self._writing() as db:
            for aggregate, states in by_aggregate.items():
                if changed := self._tables[aggregate].apply(db, states):
                    db.execute(COUNT, (aggregate, changed))
            db.executemany(
                "INSERT INTO offsets VALUES (?, ?, ?, ?) ON CONFLICT (topic, partition)"
                " DO UPDATE SET next = excluded.next, fed_at = excluded.fed_at",
                [(topic, partition, offset, int(time.time())) for (topic, partition), offset in offsets.items()],
            )

    def get(self, aggregate: str, ext_id: str) -> dict[str, Any] | None:
        """Returns a state's fields that have values, by name; None for an unknown key. Raises InvalidInput for an
        aggregate that does not exist."""
        table = self._known(aggregate)
        query = f"SELECT {table.columns} FROM {table.name} WHERE ext_id = ?"  # noqa: S608 - our names
        row = self._reader().execute(query, (ext_id,)).fetchone()
        return None if row is None else table.document(row)

    def document(self, aggregate: str, state: State | None) -> dict[str, Any] | None:
        """Returns the answer of `get` once the view has this state; None for a thing that has not come, or is
        deleted."""
        if state is None or not state.version:
            return None
        kinds = self.layouts[aggregate].kinds
        known = ((name, value) for name, value in zip(kinds, state, strict=False) if value is not None)
        return {name: list(value) if kinds[name] == "array" else value for name, value in known}

    def find(self, aggregate: str, wanted: Find, known: Known = never) -> Page:
        """Returns a page of the states that match ``wanted``; page, count and tag are from one snapshot. Raises
        InvalidInput for an aggregate, field, order or search that does not exist, QueryTooLarge after `FIND_S`
        seconds."""
        table = self._known(aggregate)
        db = self._reader()
        with within(db, FIND_S), _one_moment(db):
            tag = db.execute(TAG, (json.dumps(wanted.sources(table)),)).fetchone()[0]
            if known(tag):
                wanted.check(table)
                return Page([], None, tag=tag, is_known=True)
            rows = wanted.read(db, table)
            total = wanted.total(db, table) if wanted.count else None
        last = rows[wanted.limit - 1] if len(rows) > wanted.limit else None
        place = None if last is None else (last["_place"], last["ext_id"])
        return Page([table.document(row) for row in rows[: wanted.limit]], place, total, tag)

    def ask(self, query: Query, **values: Any) -> list[dict[str, Any]]:
        """Returns the rows of a query over several tables. Raises as `Query.run` does."""
        return query.run(self._reader(), values)

    def counts(self) -> dict[str, int]:
        """Returns the number of states by aggregate."""
        db = self._reader()
        return {t: db.execute(f"SELECT count(*) FROM {of.name}").fetchone()[0] for t, of in self._tables.items()}  # noqa: S608

    def reset(self, cluster: str | None = None) -> None:
        """Delete all rows: the changelog is another one, or that of another ``cluster``."""
        with self._writing() as db:
            db.execute("DELETE FROM offsets")  # first: it opens the transaction, which a DROP does not
            db.execute("DELETE FROM about WHERE name = 'born'")
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
        """A write transaction. A file that turns out to be broken is deleted, and the next start rebuilds it."""
        try:
            with self._writer as db:
                yield db
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "").startswith(BROKEN):
                logger.error("the view {} is broken, the next start rebuilds it: {}", self._path, error)
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
        """Returns this thread's connection, which can only read."""
        if not hasattr(self._local, "db"):
            self._local.db = read_only(self._connect())
        db: sqlite3.Connection = self._local.db
        return db

    def _create(self) -> None:
        self._writer.execute(f"PRAGMA user_version = {self._version()}")
        for statement in self._statements():
            self._writer.execute(statement)
        self._writer.execute("INSERT OR IGNORE INTO about VALUES ('born', ?)", (secrets.token_hex(6),))

    def _statements(self) -> list[str]:
        return [*OWN_TABLES, *(statement for table in self._tables.values() for statement in table.ddl)]

    def _version(self) -> int:
        """Returns the number of this set of tables, indexes and searches; another number needs a new file."""
        return zlib.crc32(json.dumps([FORM, sorted(self._statements())]).encode()) & 0x7FFFFFFF

    def _discard_old(self) -> None:
        """Delete a file with other columns, or one that was not fed for long."""
        if not self._path.exists():
            return
        try:
            with closing(sqlite3.connect(self._path)) as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                fed_at = db.execute("SELECT max(fed_at) FROM offsets").fetchone()[0] or time.time()
            usable = version == self._version() and is_usable(fed_at)
        except sqlite3.DatabaseError:
            usable = False
        if not usable:
            logger.info("the view {} is of another layout or too old: rebuilding it", self._path)
            self._delete()

    def _delete(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _one_moment(db: sqlite3.Connection) -> Iterator[None]:
    """A snapshot: all reads inside see the same state, whatever is written meanwhile."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.rollback()
