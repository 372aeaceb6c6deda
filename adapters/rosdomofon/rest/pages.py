"""Pages of lists in answers of the operator's REST, a Spring service (docs/contracts/rosdomofon.md#rest)."""

from __future__ import annotations

from typing import Generic, TypeVar

from adapters.rosdomofon.wire import Wire
from schemas.fields import Int

T = TypeVar("T")


class Sort(Wire):
    """Sorting of a Spring page."""

    sorted: bool | None = None
    unsorted: bool | None = None


class Pageable(Wire):
    """Position of a Spring page."""

    offset: Int | None = None
    page_number: Int | None = None
    page_size: Int | None = None
    paged: bool | None = None
    unpaged: bool | None = None
    sort: Sort | None = None


class Page(Wire, Generic[T]):
    """A Spring page; ``number`` counts from 0."""

    content: list[T]
    first: bool | None = None
    last: bool | None = None
    empty: bool | None = None
    number: Int | None = None
    number_of_elements: Int | None = None
    size: Int | None = None
    total_elements: Int | None = None
    total_pages: Int | None = None
    pageable: Pageable | None = None
    sort: Sort | None = None
