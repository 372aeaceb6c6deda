"""A record whose bytes the tests of the codec know: our own classes grow at their end."""

from __future__ import annotations

from typing import NamedTuple

from schemas.estate import LeadState
from schemas.fields import ExtId, Int, Money, Text, Texts
from schemas.record import namespace

record = namespace("test_codec")


@record(key="ext_id")
class Lead(NamedTuple):
    """A record whose bytes the tests know: ours grow at their end."""

    ext_id: ExtId
    update_id: Int | None = None
    client_ext_id: ExtId | None = None
    name: Text | None = None
    fee: Money | None = None
    lead_number: Int | None = None
    is_sold: bool | None = None
    state: LeadState | None = None
    unset: Texts = ()
