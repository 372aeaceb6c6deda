"""PHP's form notation (``fields[PHONE][0][VALUE]=…``), which Bitrix24 uses in bodies, batch commands and events
(docs/contracts/bitrix24.md#batch)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

MAX_FIELDS: Final = 10_000
MAX_DEPTH: Final = 16
MOST_DIGITS: Final = 19
"""Digits of a number among the names; a longer one counts as a text."""
_NAME: Final = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def parse_brackets(text: str) -> dict[str, Any]:
    """Return a form as nested dicts and lists, as PHP shows them. Raises ValueError if it is too deep or too long."""
    root = _Array()
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS):
        found = _NAME.fullmatch(name)
        if found is None:
            continue  # PHP ignores names it can't read, too
        path = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])]
        if len(path) > MAX_DEPTH:
            raise ValueError(f"the form is nested deeper than {MAX_DEPTH}")
        _put(root, path, value)
    return {name: as_php(value) for name, value in root.items()}


class _Array(dict[str, Any]):
    """An array as PHP fills it: an empty pair of brackets takes the next number."""

    _next = 0  # counted, not looked for: a form of ten thousand `a[]` would take seconds

    def key(self, step: str) -> str:
        """Return the key for a name between brackets."""
        key = step or str(self._next)
        if key.isdecimal() and len(key) < MOST_DIGITS:
            self._next = max(self._next, int(key) + 1)
        return key


def _put(node: _Array, path: list[str], value: str) -> None:
    for step in path[:-1]:
        key = node.key(step)
        below = node.get(key)
        if not isinstance(below, _Array):  # a[b]=1&a[b][c]=2: the later one counts
            below = node[key] = _Array()
        node = below
    node[node.key(path[-1])] = value


def as_php(value: Any) -> Any:
    """Return a value as PHP's ``json_encode`` shows it: an array with keys 0, 1, 2… is a list, and so is an empty
    one."""
    if not isinstance(value, dict):
        return value
    inner = {k: as_php(v) for k, v in value.items()}
    return list(inner.values()) if list(inner) == [str(n) for n in range(len(inner))] else inner


def format_brackets(values: Mapping[str, Any]) -> str:
    """Return nested maps and lists as a form, percent-encoded."""
    return urlencode(list(_flat(values.items(), "")))


def _flat(items: Iterable[tuple[Any, Any]], prefix: str) -> Iterable[tuple[str, str]]:
    for key, value in items:
        name = f"{prefix}[{key}]" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from _flat(value.items(), name)
        elif isinstance(value, list | tuple):
            yield from _flat(enumerate(value), name)
        else:
            yield name, "" if value is None else str(value)
