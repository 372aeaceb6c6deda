"""The domain of parcels: each one is sent when its address is known."""

from __future__ import annotations

from typing import Any

from streams.aggregate import Aggregate, Cause, Domain, Outgoing
from tables.layout import State
from tests.support.throwaway.schema import Send


def send(before: State | None, after: State | None, event: Any, cause: Cause) -> list[Outgoing]:
    if after is None or after.address == (before and before.address):
        return []
    return [Outgoing("post.commands", Send(after.ext_id, cause.id(0), after.address or ""))]


PARCEL = Domain("parcel", aggregates=(Aggregate("parcel.parcel", react=send),), outboxes=("post.commands",))
