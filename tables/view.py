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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from loguru import logger

from schemas.errors import BrokenSetup, InvalidInput
from tables.layout import META, Layout, State

STALE_S: Final = 5 * 86_400
"""A file that was not fed for so long is built anew: the changelog may have forgotten deletions (kept for 7 days)."""
AHEAD_S: Final = 3_600.0
"""One that was fed so long ahead of now, under a clock that is set back since, has no known age."""
BROKEN: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
FORM: Final = 3
"""Of the file, apart from its columns; another number builds it anew."""
INDEXED: Final = ("status", "state", "stage", "phone", "bitrix_lead_id", "user_id")
ORDERS: Final = ("ext_id", "changed_at", "user_id")
"""Those with an index. A row that lacks the field is not in a list of its order."""
CENTS: Final = "_cents"
"""Ends the name of the column that SQLite makes of money as text: whole cents, which sort and add exactly. Beyond 64
bits (92 quadrillion) all amounts are the same there."""
SQL_TYPES: Final = {"long": "INTEGER", "timestamp-micros": "INTEGER", "double": "REAL", "boolean": "INTEGER"}
READ: Final[dict[str, Callable[[Any], Any]]] = {"array": json.loads, "boolean": bool, "decimal": Decimal}
"""How values come back that SQLite has no type for."""


class Change(NamedTuple):
    """A state that is new; None: deleted."""

    aggregate: str
    ext_id: str
    state: State | None


class Page(NamedTuple):
    """A part of a list, and where the next one begins."""

    rows: list[dict[str, Any]]
    after: tuple[Any, str] | None


class View:
    """One file, of one process. Writing is for one thread, reading for any. Raises BrokenSetup if it is in use."""

    def __init__(self, path: Path, layouts: Mapping[str, Layout]) -> None:
        self._path, self.layouts = path, dict(layouts)
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._columns = {topic: _columns(layout) for topic, layout in self.layouts.items()}
        self._money = {t: [n for n, kind in of.kinds.items() if kind == "decimal"] for t, of in self.layouts.items()}
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
                table, names = _table(aggregate), self._columns[aggregate]
                marks = ",".join("?" * len(names))
                # Of version 0 is what only reports about a thing that has not come yet.
                gone = [(ext_id,) for ext_id, state in states if state is None or not state.version]
                rows = [_values(state, len(names)) for _, state in states if state is not None and state.version]
                db.executemany(f"DELETE FROM {table} WHERE ext_id = ?", gone)  # noqa: S608 - a name of ours
                db.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608
            db.executemany(
                "INSERT OR REPLACE INTO offsets VALUES (?, ?, ?, ?)",
                [(topic, partition, offset, int(time.time())) for (topic, partition), offset in offsets.items()],
            )

    def get(self, aggregate: str, ext_id: str) -> dict[str, Any] | None:
        """A state's fields that are known, by name."""
        query = f"SELECT * FROM {_table(self._known(aggregate))} WHERE ext_id = ?"  # noqa: S608
        row = self._reader().execute(query, (ext_id,)).fetchone()
        return None if row is None else self._as_dict(aggregate, row)

    def find(
        self,
        aggregate: str,
        filters: Mapping[str, Any],
        *,
        limit: int = 50,
        after: Sequence[Any] | None = None,
        order: str = "ext_id",
    ) -> Page:
        """States whose fields equal ``filters``, from the place ``after`` on. ``order``: a name of `ORDERS`, with ``-``
        downwards. Raises InvalidInput for a field or order that does not exist."""
        descending, name = order.startswith("-"), order.removeprefix("-")
        columns = self._columns[self._known(aggregate)]
        if name not in (known := orders_of(self.layouts[aggregate])):
            raise InvalidInput("order", f"one of {', '.join(known)}, with - for downwards", order)
        conditions, values = [], []
        for field, value in filters.items():
            if field not in columns:
                raise InvalidInput(field, f"a field to filter by: {', '.join(columns)}", value)
            conditions.append(f'"{field}" = ?')
            values.append(value)
        if name not in META:
            conditions.append(f'"{name}" IS NOT NULL')
        if after is not None:
            conditions.append(f"({name}, ext_id) {'<' if descending else '>'} (?, ?)")
            values += after
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        way = "DESC" if descending else "ASC"
        query = f"SELECT * FROM {_table(aggregate)} {where} ORDER BY {name} {way}, ext_id {way} LIMIT ?"  # noqa: S608
        rows = self._reader().execute(query, (*values, limit + 1)).fetchall()
        last = rows[limit - 1] if len(rows) > limit else None
        place = None if last is None else (last[name], last["ext_id"])
        return Page([self._as_dict(aggregate, row) for row in rows[:limit]], place)

    def counts(self) -> dict[str, int]:
        """States by aggregate."""
        db = self._reader()
        return {t: db.execute(f"SELECT count(*) FROM {_table(t)}").fetchone()[0] for t in self.layouts}  # noqa: S608

    def reset(self, cluster: str | None = None) -> None:
        """Forget all: the changelog is another one, or that of another ``cluster``."""
        with self._writing() as db:
            for aggregate in self.layouts:
                db.execute(f"DELETE FROM {_table(aggregate)}")  # noqa: S608
            db.execute("DELETE FROM offsets")
            if cluster is not None:
                db.execute("INSERT OR REPLACE INTO about VALUES ('cluster', ?)", (cluster,))

    def _known(self, aggregate: str) -> str:
        if aggregate not in self.layouts:
            raise InvalidInput("aggregate", f"one of {', '.join(self.layouts)}", aggregate)
        return aggregate

    def _as_dict(self, aggregate: str, row: sqlite3.Row) -> dict[str, Any]:
        kinds = self.layouts[aggregate].kinds
        found = {}
        for name, value in zip(row.keys(), row, strict=True):
            if value is not None and name in kinds:  # the others are SQLite's own
                found[name] = READ[kinds[name]](value) if kinds[name] in READ else value
        return found

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
        """One connection a thread."""
        if not hasattr(self._local, "db"):
            self._local.db = self._connect()
        db: sqlite3.Connection = self._local.db
        return db

    def _create(self) -> None:
        db = self._writer
        db.execute(f"PRAGMA user_version = {self._version()}")
        db.execute(
            "CREATE TABLE IF NOT EXISTS offsets (topic TEXT, partition INTEGER, next INTEGER, fed_at INTEGER,"
            " PRIMARY KEY (topic, partition))"
        )
        db.execute("CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT)")
        for aggregate, columns in self._columns.items():
            table = _table(aggregate)
            typed = [f'"{name}" {kind}' for name, kind in columns.items()]
            typed += [
                f"""\"{name}{CENTS}\" INTEGER AS (CAST(replace("{name}", '.', '') AS INTEGER)) VIRTUAL"""
                for name in self._money[aggregate]
            ]
            db.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(typed)}, PRIMARY KEY (ext_id))")
            for name in self._money[aggregate]:
                db.execute(f'CREATE INDEX IF NOT EXISTS {table}_{name} ON {table} ("{name}{CENTS}", ext_id)')
            for name in columns:
                if name in INDEXED or name == "changed_at" or (name.endswith("_ext_id")):
                    db.execute(f'CREATE INDEX IF NOT EXISTS {table}_{name} ON {table} ("{name}", ext_id)')

    def _version(self) -> int:
        """Of all columns; another one means another file."""
        return zlib.crc32(json.dumps([FORM, self._columns], sort_keys=True).encode()) & 0x7FFFFFFF

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


def _table(aggregate: str) -> str:
    return aggregate.replace(".", "_").replace("-", "_")


def _columns(layout: Layout) -> dict[str, str]:
    """SQL type by field."""
    return {name: SQL_TYPES.get(kind, "TEXT") for name, kind in layout.kinds.items()}


def orders_of(layout: Layout) -> list[str]:
    """What a list of these states can be sorted by."""
    return [name for name in ORDERS if name in layout.kinds]


def _values(state: State, count: int) -> list[Any]:
    values = list(state[:count])
    for i, value in enumerate(values):
        if isinstance(value, Decimal):
            values[i] = f"{value:.2f}"  # never with an exponent: the cents are what stands without the point
        elif isinstance(value, tuple):
            values[i] = json.dumps(value, ensure_ascii=False)
    return values
