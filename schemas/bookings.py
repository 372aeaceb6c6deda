"""Records of time slots, visits and bookings. Source of every field: docs/contracts/brusnika.md#types.

Their rules are Kounter's, so what an upstream system reports comes as a command, ``Report…``, with that system's own
number of the change; ``…Reported`` is the decided event.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from schemas.commands import CommandReply
from schemas.fields import DateText, Day, ExtId, Int, Internal, Label, Personal, Text, Texts, TimeOfDay, WireName
from schemas.record import also_on, namespace

record = namespace("estate")

Private = Annotated[Text, Personal()]
BRUSNIKA: Final = "brusnika"
"""The source of what the developer's system reports."""
Source = Annotated[Text, Internal()]
"""The system that counts ``source_update_id``; a name without a space (`streams.upstream`)."""
SourceUpdateId = Annotated[Int, WireName("update_id")]
"""The source's number of the change."""
DECIDED: Final = ("estate.time-slot", "estate.visit", "estate.booking", "estate.client", "estate.user")
"""Topics of the aggregates that Kounter decides. Each has ``.commands`` and ``.replies``."""


class BookingStatus(Label):
    OPEN = "OPEN", "open"
    SUCCESS = "SUCCESS", "success"
    FAIL = "FAIL", "fail"


class VisitStatus(Label):
    OPEN = "OPEN", "open"
    ASSIGNED = "ASSIGNED", "assigned"
    SUCCESS = "SUCCESS", "success"
    FAIL = "FAIL", "fail"


@record("estate.time-slot.commands", key="ext_id", outside="time_slots")
class ReportTimeSlot(NamedTuple):
    """Report a time at which a visit is possible, or no longer."""

    ext_id: ExtId
    source: Source = BRUSNIKA
    source_update_id: SourceUpdateId | None = None
    date: Day | None = None
    time: TimeOfDay | None = None
    is_booked: bool | None = None
    unset: Texts = ()


@record("estate.time-slot", key="ext_id")
class TimeSlotReported(NamedTuple):
    """A time at which a visit is possible. Decided: a report is taken over."""

    ext_id: ExtId
    update_id: Int | None = None
    source_updates: Text | None = None
    """The highest number of each source: ``brusnika:17 portal:4``."""
    date: Day | None = None
    time: TimeOfDay | None = None
    is_booked: bool | None = None
    unset: Texts = ()


@record("estate.visit.commands", key="ext_id", outside="VISIT")
class ReportVisit(NamedTuple):
    """Report a visit, or a change of its status."""

    ext_id: Annotated[ExtId, WireName("ext_id", ("visit_ext_id",))]
    source: Source = BRUSNIKA
    source_update_id: SourceUpdateId | None = None
    project_ext_id: ExtId | None = None
    client_ext_id: ExtId | None = None
    agent_ext_id: ExtId | None = None
    request_date: DateText | None = None
    request_time: TimeOfDay | None = None
    note: Private | None = None
    date: DateText | None = None
    time: TimeOfDay | None = None
    status: VisitStatus | None = None
    unset: Texts = ()


@record("estate.visit", key="ext_id")
class VisitReported(NamedTuple):
    """A client's visit to a project. Decided: a report is taken over."""

    ext_id: ExtId
    update_id: Int | None = None
    source_updates: Text | None = None
    """The highest number of each source."""
    project_ext_id: ExtId | None = None
    client_ext_id: ExtId | None = None
    agent_ext_id: ExtId | None = None
    request_date: DateText | None = None
    request_time: TimeOfDay | None = None
    note: Private | None = None
    date: DateText | None = None
    time: TimeOfDay | None = None
    status: VisitStatus | None = None
    unset: Texts = ()


@record("estate.booking.commands", key="ext_id", outside="booking")
class ReportBooking(NamedTuple):
    """Report a change of a booking's status."""

    ext_id: Annotated[ExtId, WireName("booking_ext_id", ("ext_id",))]
    source: Source = BRUSNIKA
    source_update_id: SourceUpdateId | None = None
    status: BookingStatus | None = None
    unset: Texts = ()


@record("estate.booking", key="ext_id")
class BookingReported(NamedTuple):
    """A booking of a premise. Decided: a report is taken over."""

    ext_id: ExtId
    update_id: Int | None = None
    source_updates: Text | None = None
    """The highest number of each source."""
    status: BookingStatus | None = None
    unset: Texts = ()


also_on(CommandReply, *(f"{aggregate}.replies" for aggregate in DECIDED))
