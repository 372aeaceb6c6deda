"""Leads as a portal keeps them: ignored fields, texts, and phones that are added, changed and deleted
(docs/contracts/bitrix24.md#phones)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from adapters.bitrix24.twin.errors import RestError
from adapters.bitrix24.twin.fields import FIELDS, MULTIFIELDS, PORTAL_ZONE, READ_ONLY, is_scalar, kept, positive_int
from adapters.bitrix24.twin.filter import order_by, where
from adapters.bitrix24.twin.store import TwinStore
from adapters.bitrix24.twin.texts import column

PAGE: Final = 50
API, PERSON = "api", "person"
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_BEGINNING: Final = {"IS_RETURN_CUSTOMER": "N", "BIRTHDATE": "", "CURRENCY_ID": "RUB", "OPPORTUNITY": "0.00"}
_BEGINNING_MORE: Final = {"IS_MANUAL_OPPORTUNITY": "N", "HAS_IMOL": "N", "ASSIGNED_BY_ID": "1", "CREATED_BY_ID": "1"}

Doc = dict[str, Any]


class Page(NamedTuple):
    """A page of a list; ``total`` is 0 where no count was asked for."""

    docs: list[Doc]
    total: int
    next: int | None


class Leads:
    """All leads of the portal. ``notify`` is called with the event's name and the id after each change."""

    def __init__(self, store: TwinStore, clock: Callable[[], float], notify: Callable[[str, int], None]) -> None:
        self._store, self._clock, self._notify = store, clock, notify

    def add(self, fields: Mapping[str, Any], author: str = API) -> int:
        """Create a lead, and return its id. Raises RestError for an invalid address."""
        now = self._now()
        given = self._scalars(fields)
        doc: Doc = {**_BEGINNING, **_BEGINNING_MORE, "OPENED": "N", "STATUS_ID": "NEW", **given}
        if self.simple_mode:
            doc["STATUS_ID"] = "CONVERTED"  # a simple CRM converts at once (docs/contracts/bitrix24.md#stages)
        doc |= {"DATE_CREATE": now, "MOVED_TIME": now, "MOVED_BY_ID": "1", "DATE_CLOSED": ""}
        with self._store.transaction():
            lead_id = self._store.add("INSERT INTO leads (doc, born_origin) VALUES ('{}', ?)", given.get("ORIGIN_ID"))
            doc["TITLE"] = doc.get("TITLE") or f"Лид #{lead_id}"
            phones = self._set_multifields(lead_id, fields, new=True)
            self._save(lead_id, doc, now)
            self._record(lead_id, now, "add", author, {n: [None, v] for n, v in {**given, **phones}.items()})
        self._notify("ONCRMLEADADD", lead_id)
        return lead_id

    def update(self, lead_id: int, fields: Mapping[str, Any], author: str = API) -> None:
        """Change a lead. Raises RestError if there is none, and for an invalid address."""
        now, doc = self._now(), self.doc(lead_id)
        before = self.multifields(lead_id)
        given = self._scalars(fields)
        changes = {n: [doc.get(n), v] for n, v in given.items() if doc.get(n) != v}
        if "STATUS_ID" in changes:
            doc |= {"MOVED_TIME": now, "MOVED_BY_ID": "1"}
        with self._store.transaction():
            for name in self._set_multifields(lead_id, fields, new=False):
                changes[name] = [before.get(name, []), self.multifields(lead_id).get(name, [])]
            self._save(lead_id, doc | given, now)
            self._record(lead_id, now, "update", author, changes)
        self._notify("ONCRMLEADUPDATE", lead_id)

    def delete(self, lead_id: int, author: str = API) -> None:
        """Remove a lead; its history stays. Raises RestError if there is none."""
        self.doc(lead_id)
        with self._store.transaction():
            self._store.run("UPDATE leads SET deleted = 1 WHERE id = ?", lead_id)
            self._record(lead_id, self._now(), "delete", author, {})
        self._notify("ONCRMLEADDELETE", lead_id)

    def doc(self, lead_id: int) -> Doc:
        """Return a lead's scalar fields, user fields last. Raises RestError if there is none."""
        row = self._store.row("SELECT id, doc FROM leads WHERE id = ? AND deleted = 0", lead_id)
        if row is None:
            raise RestError("", "Not found")
        return _doc(row["id"], row["doc"])

    def multifields(self, lead_id: int) -> dict[str, list[dict[str, str]]]:
        """Return a lead's multi-fields: ``{"PHONE": [{"ID", "VALUE_TYPE", "VALUE", "TYPE_ID"}]}``."""
        found: dict[str, list[dict[str, str]]] = {}
        for row in self._store.rows("SELECT * FROM multifields WHERE lead_id = ? ORDER BY id", lead_id):
            one = {"ID": str(row["id"]), "VALUE_TYPE": row["value_type"], "VALUE": row["value"]}
            found.setdefault(row["type_id"], []).append({**one, "TYPE_ID": row["type_id"]})
        return found

    def find(self, wanted: Mapping[str, Any], order: Mapping[str, Any], start: int) -> Page:
        """Return a page of 50 leads from ``start`` on; -1 means the first page, without a count."""
        condition, values = where(wanted)
        sql = f"SELECT id, doc FROM leads WHERE {condition} ORDER BY {order_by(order)} LIMIT {PAGE} OFFSET ?"  # noqa: S608
        docs = [_doc(row["id"], row["doc"]) for row in self._store.rows(sql, *values, max(start, 0))]
        if start < 0:
            return Page(docs, 0, None)
        counted = self._store.row(f"SELECT count(*) FROM leads WHERE {condition}", *values)  # noqa: S608
        total = int(counted[0]) if counted else 0
        return Page(docs, total, start + PAGE if total > start + PAGE else None)

    def with_contact(self, type_id: str, values: Iterable[str]) -> list[int]:
        """Return the ids of the leads that have one of these phones or addresses."""
        sought = sorted({sought_form(type_id, v) for v in values})
        sql = f"""SELECT DISTINCT lead_id FROM multifields JOIN leads ON leads.id = lead_id AND deleted = 0
                  WHERE type_id = ? AND sought IN ({", ".join("?" * len(sought))}) ORDER BY lead_id"""  # noqa: S608
        return [row["lead_id"] for row in self._store.rows(sql, type_id, *sought)]

    @property
    def simple_mode(self) -> bool:
        """Return whether the portal is a simple CRM, which converts each lead at once."""
        return bool(self._store.noted("crm_mode", 1) == 2)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), PORTAL_ZONE).isoformat(timespec="seconds")

    def _scalars(self, fields: Mapping[str, Any]) -> Doc:
        """Return the scalar fields; unknown and read-only ones are silently ignored."""
        return {n: kept(n, v) for n, v in fields.items() if is_scalar(n) and n not in READ_ONLY}

    def _set_multifields(self, lead_id: int, fields: Mapping[str, Any], *, new: bool) -> dict[str, Any]:
        touched = {n: _items(fields[n]) for n in MULTIFIELDS if n in fields}
        for type_id, items in touched.items():
            for item in items:
                self._set_multifield(lead_id, type_id, item, new=new)
        return touched

    def _set_multifield(self, lead_id: int, type_id: str, item: Mapping[str, Any], *, new: bool) -> None:
        """Change or delete the value whose ID is given, otherwise add one, which is how phones get doubled."""
        value = column(type_id, str(item.get("VALUE") or ""))
        kind = column("VALUE_TYPE", str(item.get("VALUE_TYPE") or "WORK"))
        if type_id == "EMAIL" and value and not _EMAIL.fullmatch(value):
            raise RestError("ERROR_CORE", "Поле Рабочий e-mail содержит некорректный адрес")
        mine = None if new else positive_int(item.get("ID"))
        if mine and not self._store.row("SELECT 1 FROM multifields WHERE id = ? AND lead_id = ?", mine, lead_id):
            mine = None
        if mine and (not value or str(item.get("DELETE")) == "Y"):
            self._store.run("DELETE FROM multifields WHERE id = ?", mine)
        elif mine:
            sql = "UPDATE multifields SET value = ?, value_type = ?, sought = ? WHERE id = ?"
            self._store.run(sql, value, kind, sought_form(type_id, value), mine)
        elif value:
            sql = "INSERT INTO multifields (lead_id, type_id, value_type, value, sought) VALUES (?, ?, ?, ?, ?)"
            self._store.run(sql, lead_id, type_id, kind, value, sought_form(type_id, value))

    def _save(self, lead_id: int, doc: Doc, now: str) -> None:
        has = self.multifields(lead_id)
        status = "SELECT semantics FROM statuses WHERE entity_id = 'STATUS' AND status_id = ?"
        row = self._store.row(status, doc["STATUS_ID"])
        semantic = (row["semantics"] if row else None) or "P"
        doc |= {"HAS_PHONE": "Y" if "PHONE" in has else "N", "HAS_EMAIL": "Y" if "EMAIL" in has else "N"}
        doc |= {"STATUS_SEMANTIC_ID": semantic, "DATE_MODIFY": now, "MODIFY_BY_ID": "1"}
        doc |= {"LAST_ACTIVITY_BY": "1", "LAST_ACTIVITY_TIME": now, "DATE_CLOSED": ""} | (
            {} if semantic == "P" else {"DATE_CLOSED": doc.get("DATE_CLOSED") or now}
        )
        doc.pop("ID", None)
        self._store.run("UPDATE leads SET doc = ? WHERE id = ?", json.dumps(doc, ensure_ascii=False), lead_id)

    def _record(self, lead_id: int, now: str, action: str, author: str, changes: Doc) -> None:
        text = json.dumps(changes, ensure_ascii=False)
        sql = "INSERT INTO history (lead_id, at, action, author, changes) VALUES (?, ?, ?, ?, ?)"
        self._store.run(sql, lead_id, now, action, author, text)


def _doc(lead_id: int, text: str) -> Doc:
    known = json.loads(text)
    doc = {name: known.pop(name, None) for name in FIELDS}
    return {**doc, **known, "ID": str(lead_id)}


def _items(value: Any) -> list[Mapping[str, Any]]:
    """Return the maps in a list, which PHP does not distinguish from a map; other entries are ignored."""
    inner = list(value.values()) if isinstance(value, dict) else value
    return [item for item in inner if isinstance(item, dict)] if isinstance(inner, list) else []


def sought_form(type_id: str, value: str) -> str:
    """Return the form in which contacts are compared: phones without extension and prefix, with 7 for 8; others
    without case.

    It is that of the portal's ``NormalizePhone`` and search for duplicates (docs/contracts/bitrix24.md#duplicates).
    """
    if type_id != "PHONE":
        return value.strip().lower()
    number = re.sub(r"[^0-9#*,;]", "", "00" + value[1:] if len(value) >= 10 and value.startswith("+8") else value)
    if len(number) >= 10 and not number.startswith(("80", "81", "82")):
        for prefix, instead in (("00", ""), ("011", ""), ("8", "7"), ("0", "")):
            if number.startswith(prefix):
                number = instead + number.removeprefix(prefix)
                break
    return re.sub(r"(\d+)[;#]*[\d,]*", r"\1", number)
