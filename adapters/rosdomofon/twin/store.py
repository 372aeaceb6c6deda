"""The storage of the operator's twin: one SQLite database, in memory or in a file that survives restarts."""

from __future__ import annotations

import json
from typing import Any, Final

from adapters.twin_kit.storage import TwinMemory

LAYOUT: Final = 1
_TABLES: Final = """
CREATE TABLE docs (kind TEXT NOT NULL, id INTEGER NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE INDEX docs_phone ON docs (kind, json_extract(doc, '$.phone'));
CREATE INDEX docs_number ON docs (kind, json_extract(doc, '$.number'));
CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT, abonent_id INTEGER NOT NULL, phone INTEGER NOT NULL,
                       channel TEXT NOT NULL, incoming INTEGER NOT NULL, message TEXT NOT NULL, at_ms INTEGER NOT NULL,
                       via TEXT NOT NULL);
CREATE INDEX messages_abonent ON messages (abonent_id, id);
CREATE TABLE taken (topic TEXT NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL, value BLOB,
                    wrong TEXT, PRIMARY KEY (topic, partition, position));
CREATE TABLE history (id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL, what TEXT NOT NULL,
                      subject TEXT NOT NULL, doc TEXT NOT NULL);
"""
Doc = dict[str, Any]


class OperatorStore(TwinMemory):
    """Tables of documents by kind and id, messages, records read from Kafka, and the history of changes."""

    layout, tables = LAYOUT, _TABLES
    lasting = ("taken",)  # the topics still hold these records

    def put(self, kind: str, id: int, doc: Doc) -> None:
        """Insert or replace a document."""
        self.run("INSERT OR REPLACE INTO docs VALUES (?, ?, ?)", kind, id, json.dumps(doc, ensure_ascii=False))

    def get(self, kind: str, id: int) -> Doc | None:
        """Return a document with its ``id``, None if there is none."""
        found = self.rows("SELECT doc FROM docs WHERE kind = ? AND id = ?", kind, id)
        return {"id": id, **json.loads(found[0]["doc"])} if found else None

    def all(self, kind: str, **same: Any) -> list[Doc]:
        """Return the documents of a kind whose fields equal ``same``, by id."""
        also = "".join(f" AND json_extract(doc, '$.{name}') = ?" for name in same)
        rows = self.rows(f"SELECT id, doc FROM docs WHERE kind = ?{also} ORDER BY id", kind, *same.values())  # noqa: S608
        return [{"id": row["id"], **json.loads(row["doc"])} for row in rows]

    def next_id(self, kind: str, first: int) -> int:
        """Return the id of the next document of a kind; ``first`` if there is none yet."""
        (row,) = self.rows("SELECT max(id) AS most FROM docs WHERE kind = ?", kind)
        return first if row["most"] is None else row["most"] + 1
