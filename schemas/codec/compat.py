"""FULL compatibility of two Avro schemas: each reads what the other wrote. Source: Avro 1.12, "Schema
Resolution".

Stricter than Avro where history is lost quietly: a symbol that goes becomes the enum's default when old records are
read, a name in an error keeps its old meaning, so a removed symbol is refused, and so is another unit of a time.
"""

from __future__ import annotations

from typing import Any, Final

import fastavro

Names = dict[str, Any]
PROMOTES: Final = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}


def incompatibilities(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    """Returns the reasons why ``new`` may not follow ``old`` in a FULL_TRANSITIVE subject; empty if it may.

    Each text names the field and the direction: new readers of old records, or old readers of new records.
    """
    sides = [_parse(new), _parse(old)]
    found = [f"new readers of old records: {text}" for text in _Check(*sides[0], *sides[1]).run()]
    found += [f"old readers of new records: {text}" for text in _Check(*sides[1], *sides[0]).run()]
    return found + [f"history: {text}" for text in _lost_symbols(sides[0][1], sides[1][1])]


def _parse(schema: dict[str, Any]) -> tuple[Any, Names]:
    names: Names = {}
    return fastavro.parse_schema(schema, names), names


def _lost_symbols(new: Names, old: Names) -> list[str]:
    return [
        f"{name} has lost the symbol {symbol}"
        for name, kind in old.items()
        if kind["type"] == "enum" and new.get(name, {}).get("type") == "enum"
        for symbol in kind["symbols"]
        if symbol not in new[name]["symbols"]
    ]


class _Check:
    """Check that ``reader`` reads all that ``writer`` writes. Recursive types are followed once."""

    def __init__(self, reader: Any, reader_names: Names, writer: Any, writer_names: Names) -> None:
        self._reader, self._writer = reader, writer
        self._reader_names, self._writer_names = reader_names, writer_names
        self._seen: set[tuple[str, str]] = set()

    def run(self) -> list[str]:
        return self._match("", self._reader, self._writer)

    def _match(self, path: str, reader: Any, writer: Any) -> list[str]:
        reader, writer = _resolve(reader, self._reader_names), _resolve(writer, self._writer_names)
        if isinstance(writer, list):
            return [text for branch in writer for text in self._match(path, reader, branch)]
        if isinstance(reader, list):
            return self._branch(path, [_resolve(branch, self._reader_names) for branch in reader], writer)
        kind, written = reader["type"], writer["type"]
        if kind != written:
            return [] if kind in PROMOTES.get(written, ()) else [f"{path}: {_said(writer)} is read as {_said(reader)}"]
        return self._logical(path, reader, writer) + self._same_kind(path, kind, reader, writer)

    def _branch(self, path: str, reader: list[Any], writer: Any) -> list[str]:
        """Returns nothing if some branch reads it; else the faults of the one branch of the same type, if there is
        one."""
        near: list[str] = []
        for branch in reader:
            found = self._match(path, branch, writer)
            if not found:
                return []
            if branch["type"] == writer["type"]:
                near = found
        return near or [f"{path}: {_said(writer)} is none of {', '.join(map(_said, reader))}"]

    def _same_kind(self, path: str, kind: str, reader: Any, writer: Any) -> list[str]:
        if kind in ("record", "error", "enum", "fixed") and _short(reader) != _short(writer):
            return [f"{path}: {_said(writer)} is read as {_said(reader)}"]
        if kind in ("record", "error"):
            return self._record(path, reader, writer)
        if kind == "array":
            return self._match(f"{path}[]", reader["items"], writer["items"])
        if kind == "map":
            return self._match(f"{path}{{}}", reader["values"], writer["values"])
        if kind == "fixed" and reader["size"] != writer["size"]:
            return [f"{path}: {writer['size']} bytes are read as {reader['size']}"]
        if kind == "enum" and "default" not in reader:
            unknown = [s for s in writer["symbols"] if s not in reader["symbols"]]
            return [f"{path}: no such symbol as {symbol}, and no default" for symbol in unknown]
        return []

    def _record(self, path: str, reader: Any, writer: Any) -> list[str]:
        pair = (reader["name"], writer["name"])
        if pair in self._seen:
            return []
        self._seen.add(pair)
        written = {f["name"]: f["type"] for f in writer["fields"]}
        found: list[str] = []
        for field in reader["fields"]:
            here = f"{path}.{field['name']}" if path else field["name"]
            source = next((n for n in (field["name"], *field.get("aliases", [])) if n in written), None)
            if source is not None:
                found += self._match(here, field["type"], written[source])
            elif "default" not in field:
                found.append(f"{here}: is not written, and has no default")
        return found

    def _logical(self, path: str, reader: Any, writer: Any) -> list[str]:
        """Returns faults of logical types, which Avro itself ignores: another scale or unit changes what the number
        means."""
        ours, theirs = reader.get("logicalType"), writer.get("logicalType")
        if ours != theirs:
            return [f"{path}: {_said(writer)} is read as {_said(reader)}"]
        if ours == theirs == "decimal" and [reader.get(k) for k in ("scale", "precision")] != [
            writer.get(k) for k in ("scale", "precision")
        ]:
            return [f"{path}: {_said(writer)} is read as {_said(reader)}"]
        return []


def _resolve(kind: Any, names: Names) -> Any:
    """Returns a union's branches, or a type as a dict; a name is resolved to its type."""
    if isinstance(kind, str):
        return names.get(kind, {"type": kind})
    if isinstance(kind, dict) and not isinstance(kind["type"], str):
        return _resolve(kind["type"], names)
    return kind


def _short(kind: Any) -> str:
    return str(kind["name"]).rpartition(".")[2]


def _said(kind: Any) -> str:
    """Returns a short text for a type."""
    if kind.get("logicalType") == "decimal":
        return f"decimal({kind['precision']}, {kind.get('scale', 0)})"
    name = f" {kind['name']}" if "name" in kind else ""
    return f"{kind.get('logicalType') or kind['type']}{name}"
