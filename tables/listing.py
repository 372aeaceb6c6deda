"""The ways to find an aggregate's states: the indexes, orders, ranges and text search of its table in the view.

It belongs to the aggregate and not to a record class: a state has the fields of several record classes, and an index
may have columns of two of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tables.layout import META_KINDS, Layout, layout

ALWAYS: Final = ("ext_id", "changed_at")
"""Fields that every list can be sorted by; by the second it can be limited, too."""
SORTABLE: Final = frozenset({"long", "double", "decimal", "timestamp-micros"})
"""Kinds of fields that can have a range."""
PICKED: Final = frozenset({"long", "enum"})
"""Kinds of fields that can be filtered by several values: no such value has a comma, which separates them."""
Path = tuple[tuple[str, str], ...]
"""Steps from a thing to a parent of it: a field that refers to the next parent, and that parent's aggregate."""


@dataclass(frozen=True)
class Listing:
    """The searches that lists of an aggregate support. All names are fields of its state.

    A field that is named ``*_ext_id`` refers to another thing and always has an index, of its own or as
    the first of `covers`.
    """

    indexes: tuple[tuple[str, ...], ...] = ()
    """Fields of further indexes, such as ``(("status",), ("building_ext_id", "price"))``. The key is added to each as
    its last column, so that a filtered list is read in order. Money stands there by its cents."""
    orders: tuple[str, ...] = ()
    """Fields that a list can be sorted by, beside `ALWAYS`; each gets an index. Their values stand in cursors, so a
    text must be a short one."""
    ranges: tuple[str, ...] = ()
    """Numbers, times and amounts that a list can be limited by (``price_from``, ``price_to``), beside ``changed_at``;
    each gets an index, unless `covers` has it."""
    search: tuple[str, ...] = ()
    """Text fields that are searched together, by any part and in any letter case."""
    several: tuple[str, ...] = ()
    """Whole numbers and enums of which a filter takes several values, separated by commas, and finds any of them."""
    members: Mapping[str, str] = field(default_factory=dict)
    """List fields, by the parameter that filters by their values: ``{"feature": "features"}``. Of several values,
    separated by commas, all must be in the list."""
    through: Mapping[str, Path] = field(default_factory=dict)
    """Fields of parents that a list is filtered by, each with the path to the parent that has it:
    ``{"project_ext_id": (("building_ext_id", "estate.building"),)}``. Each field of a path has an index."""
    covers: tuple[str, ...] = ()
    """Fields of one index that has every row, best first a reference, then those that filters equal. A filter of such
    fields reads the index and not the rows. It is written at each change of one of its fields."""

    def check(self, layout: Layout) -> None:
        """Raises TypeError for a name that is no field of the aggregate, or a field of an unfit kind."""
        kinds = layout.kinds
        sorted_ = [*self.orders, *self.ranges, *self.search, *(name for index in self.indexes for name in index)]
        named = [*sorted_, *self.several, *self.members.values(), *self.covers]
        _refuse(layout, "unknown", (name for name in named if name not in kinds))
        _refuse(layout, "lists, which have no order,", (name for name in sorted_ if kinds[name] == "array"))
        _refuse(layout, "of no order for ranges,", (name for name in self.ranges if kinds[name] not in SORTABLE))
        ends = [f"{name}_{end}" for name in self.cut_by() for end in ("from", "to")]
        _refuse(layout, "what an end of a range is called,", (name for name in ends if name in kinds))
        _refuse(layout, "no texts to search,", (name for name in self.search if kinds[name] != "string"))
        _refuse(layout, "no whole numbers or enums,", (name for name in self.several if kinds[name] not in PICKED))
        _refuse(layout, "no lists,", (name for name in self.members.values() if kinds[name] != "array"))
        extra = [*self.members, *self.through]
        taken = {*kinds, *ends} | {name for name in extra if extra.count(name) > 1}
        _refuse(layout, "called as another parameter,", (name for name in extra if name in taken))
        for name, path in self.through.items():
            self._check_path(layout, name, path)

    def _check_path(self, of: Layout, name: str, path: Path) -> None:
        for reference, aggregate in path:
            _refuse(of, f"unknown on the way to {name}", (one for one in (reference,) if one not in of.kinds))
            of = layout(aggregate)
        _refuse(of, "unknown at the end of a path", (one for one in (name,) if one not in of.kinds))

    def home(self, layout_: Layout, name: str) -> Layout:
        """Returns the layout that has the field behind a filter's name: a parent's for a name of `through`."""
        return layout(self.through[name][-1][1]) if name in self.through else layout_

    def sources(self, aggregate: str) -> tuple[str, ...]:
        """Returns the aggregates that a list of ``aggregate`` depends on: itself, and the parents of `through`."""
        parents = (parent for path in self.through.values() for _, parent in path)
        return tuple(dict.fromkeys((aggregate, *parents)))

    def sorted_by(self) -> tuple[str, ...]:
        """Returns the fields that a list can be sorted by."""
        return tuple(dict.fromkeys((*ALWAYS, *self.orders)))

    def cut_by(self) -> tuple[str, ...]:
        """Returns the fields that a list can be limited by."""
        return tuple(dict.fromkeys(("changed_at", *self.ranges)))

    def indexed(self, layout: Layout) -> list[tuple[str, ...]]:
        """Returns the columns of all indexes beside the key's own, each index once."""
        references = [(name,) for name in layout.kinds if name.endswith("_ext_id") and name not in META_KINDS]
        references = [index for index in references if index != self.covers[:1]]
        cut_by = (name for name in self.cut_by() if name not in self.covers)
        single = [(name,) for name in (*self.sorted_by(), *cut_by) if name != "ext_id"]
        return list(dict.fromkeys([*references, *single, *self.indexes]))


def _refuse(layout: Layout, why: str, names: Iterable[str]) -> None:
    if wrong := sorted(set(names)):
        raise TypeError(f"{layout.aggregate}: its Listing names fields that are {why}: {', '.join(wrong)}")
