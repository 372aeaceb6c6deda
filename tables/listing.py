"""The ways to find an aggregate's states: the indexes, orders, ranges and text search of its table in the view.

It belongs to the aggregate and not to a record class: a state has the fields of several record classes, and an index
may have columns of two of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tables.layout import META_KINDS, Layout

ALWAYS: Final = ("ext_id", "changed_at")
"""Fields that every list can be sorted by; by the second it can be limited, too."""
SORTABLE: Final = frozenset({"long", "double", "decimal", "timestamp-micros"})
"""Kinds of fields that can have a range."""


@dataclass(frozen=True)
class Listing:
    """The searches that lists of an aggregate support. All names are fields of its state.

    A field that is named ``*_ext_id`` refers to another thing and always has an index.
    """

    indexes: tuple[tuple[str, ...], ...] = ()
    """Fields of further indexes, such as ``(("status",), ("building_ext_id", "price"))``. The key is added to each as
    its last column, so that a filtered list is read in order. Money stands there by its cents."""
    orders: tuple[str, ...] = ()
    """Fields that a list can be sorted by, beside `ALWAYS`; each gets an index. Their values stand in cursors, so a
    text must be a short one."""
    ranges: tuple[str, ...] = ()
    """Numbers, times and amounts that a list can be limited by (``price_from``, ``price_to``), beside ``changed_at``;
    each gets an index."""
    search: tuple[str, ...] = ()
    """Text fields that are searched together, by any part and in any letter case."""

    def check(self, layout: Layout) -> None:
        """Raises TypeError for a name that is no field of the aggregate, or a field of an unfit kind."""
        kinds = layout.kinds
        named = [*self.orders, *self.ranges, *self.search, *(name for index in self.indexes for name in index)]
        _refuse(layout, "unknown", (name for name in named if name not in kinds))
        _refuse(layout, "lists, which have no order,", (name for name in named if kinds[name] == "array"))
        _refuse(layout, "of no order for ranges,", (name for name in self.ranges if kinds[name] not in SORTABLE))
        ends = (f"{name}_{end}" for name in self.cut_by() for end in ("from", "to"))
        _refuse(layout, "what an end of a range is called,", (name for name in ends if name in kinds))
        _refuse(layout, "no texts to search,", (name for name in self.search if kinds[name] != "string"))

    def sorted_by(self) -> tuple[str, ...]:
        """Returns the fields that a list can be sorted by."""
        return tuple(dict.fromkeys((*ALWAYS, *self.orders)))

    def cut_by(self) -> tuple[str, ...]:
        """Returns the fields that a list can be limited by."""
        return tuple(dict.fromkeys(("changed_at", *self.ranges)))

    def indexed(self, layout: Layout) -> list[tuple[str, ...]]:
        """Returns the columns of all indexes beside the key's own, each index once."""
        references = [(name,) for name in layout.kinds if name.endswith("_ext_id") and name not in META_KINDS]
        single = [(name,) for name in (*self.sorted_by(), *self.cut_by()) if name != "ext_id"]
        return list(dict.fromkeys([*references, *single, *self.indexes]))


def _refuse(layout: Layout, why: str, names: Iterable[str]) -> None:
    if wrong := sorted(set(names)):
        raise TypeError(f"{layout.aggregate}: its Listing names fields that are {why}: {', '.join(wrong)}")
