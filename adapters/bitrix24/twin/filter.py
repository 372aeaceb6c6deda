"""Filters and orders of a portal's lists as SQL: ``{">=DATE_MODIFY": …, "@ID": […]}``
(docs/contracts/bitrix24.md#leads)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.bitrix24.twin.fields import MULTIFIELDS, NUMBERS, TIMES, is_scalar, kept, moment, type_of

PREFIXES: Final = (">=", "<=", "!@", "!%", "!=", "=%", "%=", ">", "<", "@", "%", "=", "!")
MOST_VALUES: Final = 500
Sql = tuple[str, list[Any]]


def split_prefix(key: str) -> tuple[str, str]:
    """Return prefix and field of a key: ``>=`` and ``ID`` for ``>=ID``."""
    prefix = next((p for p in PREFIXES if key.startswith(p)), "")
    return prefix, key[len(prefix) :]


def where(wanted: Mapping[str, Any]) -> Sql:
    """Return the condition for a filter. Unknown fields are silently ignored, as by crm.lead.list."""
    parts, values = ["deleted = 0"], list[Any]()
    for key, value in wanted.items():
        prefix, name = split_prefix(str(key))
        if name in MULTIFIELDS:
            sql, more = _multifield(prefix, name, value)
        elif is_scalar(name):
            sql, more = _scalar(prefix, name, value)
        else:
            continue
        parts.append(sql)
        values += more
    return " AND ".join(parts), values


def order_by(wanted: Mapping[str, Any]) -> str:
    """Return the ORDER BY for an order; rows that it does not tell apart are ordered by ID."""
    parts = [
        f"{_column(name)} {'DESC' if str(direction).upper() == 'DESC' else 'ASC'}"
        for name, direction in wanted.items()
        if is_scalar(name)
    ]
    return ", ".join([*parts, "id ASC"])


def _column(name: str) -> str:
    """Return the SQL of a field that `is_scalar` knows, whose name is safe inside SQL. Texts are compared as by MySQL,
    without case."""
    if name == "ID":
        return "id"
    path = f"json_extract(doc, '$.{name}')"
    return f"CAST({path} AS REAL)" if type_of(name) in NUMBERS else f"{path} COLLATE NOCASE"


def _operand(name: str, value: Any) -> Any:
    if type_of(name) in NUMBERS:
        return float(kept(name, value))
    return moment(value) if type_of(name) in TIMES else str(value)


def _scalar(prefix: str, name: str, value: Any) -> Sql:
    column = _column(name)
    if isinstance(value, dict):
        value = list(value.values())
    if prefix in ("@", "!@") or isinstance(value, list):
        return _among(column, name, value if isinstance(value, list) else [value], prefix.startswith("!"))
    if prefix in (">=", "<=", ">", "<"):
        return f"{column} {prefix} ?", [_operand(name, value)]
    if "%" in prefix:
        return _like(prefix, column, str(value))
    negated = prefix in ("!", "!=")
    if value in (None, "", False):
        return (f"COALESCE({column}, '') <> ''" if negated else f"COALESCE({column}, '') = ''"), []
    operand = [_operand(name, value)]
    return (f"({column} IS NULL OR {column} <> ?)" if negated else f"{column} = ?"), operand


def _among(column: str, name: str, values: list[Any], negated: bool) -> Sql:
    operands = [_operand(name, v) for v in values[:MOST_VALUES] if not isinstance(v, list | dict)]
    marks = ", ".join("?" * len(operands))
    if negated:
        return f"({column} IS NULL OR {column} NOT IN ({marks}))", operands
    return f"{column} IN ({marks})", operands


def _like(prefix: str, column: str, value: str) -> Sql:
    """Return a LIKE: ``%`` and ``!%`` search the text itself; in ``=%`` and ``%=`` the value's ``%`` is a wildcard."""
    if prefix in ("%", "!%"):
        value = "%" + value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    word = "NOT LIKE" if prefix == "!%" else "LIKE"
    return f"COALESCE({column}, '') {word} ? ESCAPE '\\'", [value]


def _multifield(prefix: str, name: str, value: Any) -> Sql:
    values = value if isinstance(value, list) else [value]
    texts = [str(v) for v in values[:MOST_VALUES] if not isinstance(v, list | dict)]
    test, operands = f"m.value IN ({', '.join('?' * len(texts))})", list[Any](texts)
    if "%" in prefix:
        test, operands = _like(prefix.lstrip("!"), "m.value", texts[0] if texts else "")
    sql = f"EXISTS (SELECT 1 FROM multifields m WHERE m.lead_id = leads.id AND m.type_id = ? AND {test})"  # noqa: S608
    return (f"NOT {sql}" if prefix.startswith("!") else sql), [name, *operands]
