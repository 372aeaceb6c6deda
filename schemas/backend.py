"""Changes for the main backend: as the domain sends them, and as the numbered log holds them. Source:
docs/contracts/brusnika.md#frames.

A subject is a thing as the backend knows it, ``<type>/<ext_id>``: ``premise/pr-17``. Its changes keep their order.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from schemas.fields import ExtId, Int, Personal, Text, Texts
from schemas.record import namespace

record = namespace("backend")

CHANGES: Final = "backend.changes"
EVENTS: Final = "backend.events"
"""The numbered log. It has one partition, so its order is one for all."""


def subject_of(type: str, ext_id: str) -> str:
    """Returns the subject of a thing by its wire type and id."""
    return f"{type}/{ext_id}"


@record(CHANGES, key="subject")
class BackendChange(NamedTuple):
    """A thing after a change, whole: the backend's upsert empties what a frame leaves out."""

    subject: Text
    type: Text = ""
    """The wire type: ``premise``, ``lead_op``."""
    ext_id: ExtId = ""
    frame: Annotated[Text, Personal()] = ""
    """A JSON object, the inner ``data`` of the frame, without ``update_id``."""
    parents: Texts = ()
    """Subjects without which the backend fails the change: it is held until they are in the log."""
    references: Texts = ()
    """Subjects that may never come: the change is held for them for a limited time."""


@record(CHANGES, key="subject")
class WaitingRelease(NamedTuple):
    """A person's order to send what is held of a subject, whatever it waits for."""

    subject: Text
    by: Text | None = None


@record(EVENTS, key="subject")
class BackendEvent(NamedTuple):
    """A change in the numbered log."""

    subject: Text
    update_id: Int = 0
    """From 1 on, without gap or repeat."""
    type: Text = ""
    frame: Annotated[Text, Personal()] = ""
    """The inner ``data`` of the frame, ``update_id`` included."""
