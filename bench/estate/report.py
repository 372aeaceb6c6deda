"""The results of all parts beside their limits, as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from bench.report import described


class Part(NamedTuple):
    """One benchmark's results. Limits have the structure of the results; those of a name that ends in ``per_s`` are
    the least that is accepted, all others the most."""

    name: str
    code: int
    """Its exit code: 1 if a limit is exceeded."""
    results: Mapping[str, Any]
    limits: Mapping[str, Any]


class Row(NamedTuple):
    """One measurement."""

    name: str
    value: Any
    limit: float | None

    @property
    def is_exceeded(self) -> bool:
        """Returns whether the value is beyond its limit."""
        if self.limit is None:
            return False
        return bool(self.value < self.limit if self.name.endswith("per_s") else self.value > self.limit)


def rows(results: Mapping[str, Any], limits: Mapping[str, Any], prefix: str = "") -> Iterator[Row]:
    """Yields the measurements, those of a group behind its name."""
    for name, value in results.items():
        limit = limits.get(name)
        if isinstance(value, Mapping):
            yield from rows(value, limit if isinstance(limit, Mapping) else {}, f"{prefix}{name}: ")
        else:
            yield Row(f"{prefix}{name}", value, limit)


def markdown(parts: Sequence[Part], machine: Mapping[str, Any]) -> str:
    """Returns the results as a page."""
    lines = [
        "# Results of the estate domain",
        "",
        "Made by `make bench PART=estate`, one run. " + described(machine),
    ]
    for part in parts:
        lines += ["", f"## {part.name}", ""]
        if not part.results:
            lines.append(f"It ended with exit code {part.code}, without results.")
            continue
        lines += ["| measured | result | limit |", "|---|---|---|"]
        for row in rows(part.results, part.limits):
            shown = f"{row.value:,}" if isinstance(row.value, int | float) else str(row.value)
            sign = "≥" if row.name.endswith("per_s") else "≤"
            limit = "" if row.limit is None else f"{sign} {row.limit:,g}"
            lines.append(f"| {row.name} | {f'**{shown}**, exceeded' if row.is_exceeded else shown} | {limit} |")
    return "\n".join([*lines, ""])


def as_json(parts: Sequence[Part], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the results for programs."""
    return {
        "machine": machine,
        "parts": {part.name: {"results": part.results, "limits": part.limits} for part in parts},
        "exceeded": [f"{p.name}: {row.name}" for p in parts for row in rows(p.results, p.limits) if row.is_exceeded],
        "failed": [part.name for part in parts if part.code],
    }
