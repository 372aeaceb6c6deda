"""Records of parcels, and commands for the post that delivers them."""

from __future__ import annotations

from typing import NamedTuple

from schemas.fields import ExtId, Int, Text, Texts
from schemas.parking import ParkedOrder
from schemas.record import also_on, namespace

record = namespace("throwaway")


@record("parcel.parcel", key="ext_id")
class Parcel(NamedTuple):
    """A parcel that the post has taken."""

    ext_id: ExtId
    update_id: Int | None = None
    address: Text | None = None
    unset: Texts = ()


@record("post.commands", key="ext_id")
class Send(NamedTuple):
    """Ask the post to send a parcel."""

    ext_id: ExtId
    command_id: Text = ""
    address: Text = ""


@record("post.responses", "parcel.parcel", key="ext_id", if_unknown="ignore")
class Sending(NamedTuple):
    """The result of `Send`."""

    ext_id: ExtId
    post_number: Int | None = None
    post_reason: Text | None = None
    unset: Texts = ()


also_on(ParkedOrder, "post.commands")
