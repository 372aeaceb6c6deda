"""A view in a temporary folder, and states to put into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.record import declare_all
from tables.layout import Layout, State, layout
from tables.listing import Listing
from tables.view import Change, View
from tables.view_find import Find

LEADS, PREMISES, PROJECTS = "estate.lead", "estate.premise", "estate.project"
declare_all()
LAYOUTS = {name: layout(name) for name in (LEADS, PREMISES, PROJECTS)}
LISTINGS = {
    LEADS: Listing(indexes=(("state",),), ranges=("fee", "lead_number")),
    PREMISES: Listing(
        indexes=(("building_ext_id", "status", "price"),),
        orders=("price", "size"),
        ranges=("price", "size"),
        search=("name", "link"),
    ),
}


@contextmanager
def opened(
    folder: Path | str, layouts: Mapping[str, Layout] = LAYOUTS, listings: Mapping[str, Listing] = LISTINGS
) -> Iterator[View]:
    view = View(Path(folder) / "view.sqlite", layouts, listings)
    try:
        yield view
    finally:
        view.close()


def state(aggregate: str, ext_id: str, version: int = 1, **fields: Any) -> State:
    blank = LAYOUTS[aggregate].blank(ext_id)
    return blank._replace(version=version, **{"changed_at": version, **fields})


def put(view: View, *states: State, aggregate: str = LEADS) -> None:
    view.apply([Change(aggregate, s.ext_id, s) for s in states], {})


def ids_of(view: View, aggregate: str, wanted: Find) -> list[str]:
    """The ext_ids of a page."""
    return [row["ext_id"] for row in view.find(aggregate, wanted).rows]
