"""An offer as any format brings it: the values of its premise, and its place."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from adapters.feeds.parse.place import ParentIds, Place
from adapters.feeds.parse.values import compact, ext_id, text
from schemas.errors import InvalidInput
from schemas.estate import Premise, PremiseStatus
from schemas.fields import is_id


class Offer(NamedTuple):
    """The values of a premise by field (``number`` as the feed has it), and the place that it is in."""

    values: dict[str, Any]
    place: Place


def premise(key: str, offer: Offer, ids: ParentIds) -> Premise:
    """Returns the row of an offer: it is in the file, so it is free. Raises InvalidInput."""
    said = {**offer.values, "status": PremiseStatus.FREE.value}
    number = compact(said.pop("number", None) or "")
    return Premise(
        ext_id=ext_id("id", key),
        number=int(number) if is_id(number) else None,
        number_text=text("number", number),
        building_ext_id=ids.building,
        section_ext_id=ids.section,
        **said,
    )


def refuse_others(field: str, came: str | None, known: Collection[str]) -> None:
    """Raises InvalidInput for an offer that is no sale, such as a rent."""
    if (came or "").strip().casefold() not in known:
        raise InvalidInput(field, "a sale", came)
