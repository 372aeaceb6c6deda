"""PHP's form notation as a portal reads and writes it. The twin has its own, apart from the client's `php_form`: a
mistake that both shared would pass every test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote_plus, unquote_plus

MAX_PAIRS: Final = 10_000
MAX_STEPS: Final = 16


class _Map(dict[str, Any]):
    """An array as PHP fills it."""

    free = 0
    """The number that ``[]`` takes next."""

    def name(self, step: str) -> str:
        """Return the key for a name between brackets."""
        name = step if step else str(self.free)
        if name.isdecimal() and len(name) <= 18:
            self.free = max(self.free, int(name) + 1)
        return name


def read_form(text: str) -> dict[str, Any]:
    """Return a form as nested maps and lists. Raises ValueError if it is too long or nested too deep."""
    form, pairs = _Map(), [pair for pair in text.split("&") if pair]
    if len(pairs) > MAX_PAIRS:
        raise ValueError(f"a form of at most {MAX_PAIRS} fields")
    for pair in pairs:
        name, _, value = pair.partition("=")
        if steps := _steps(unquote_plus(name)):
            at = form
            for step in steps[:-1]:
                key = at.name(step)
                if not isinstance(at.get(key), _Map):
                    at[key] = _Map()
                at = at[key]
            at[at.name(steps[-1])] = unquote_plus(value)
    return {name: _shown(value) for name, value in form.items()}


def _steps(name: str) -> list[str]:
    """Split ``a[b][c]`` into its names; empty if it is not of that form. Raises ValueError."""
    head, bracket, rest = name.partition("[")
    if not head or "]" in head:
        return []
    steps = [head]
    while bracket:
        step, closed, rest = rest.partition("]")
        if not closed or "[" in step:
            return []
        steps.append(step)
        bracket, rest = rest[:1], rest[1:]
        if bracket not in ("", "["):
            return []
    if len(steps) > MAX_STEPS:
        raise ValueError(f"a form nested at most {MAX_STEPS} deep")
    return steps


def is_list(keys: Any) -> bool:
    """Return whether PHP's JSON shows an array with these keys as a list: they are 0, 1, 2… or none."""
    return all(key == str(number) for number, key in enumerate(keys))


def _shown(value: Any) -> Any:
    if not isinstance(value, _Map):
        return value
    shown = {name: _shown(inner) for name, inner in value.items()}
    return [*shown.values()] if is_list(shown) else shown


def write_form(values: dict[str, Any]) -> str:
    """Return nested maps as a form, percent-encoded."""
    return "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in _pairs("", values))


def _pairs(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        name = f"{prefix}[{key}]" if prefix else key
        if isinstance(value, dict):
            yield from _pairs(name, value)
        else:
            yield name, str(value)
