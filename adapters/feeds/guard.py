"""The guard: a file that would take away too much, or contradicts itself, is refused whole. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

DUPLICATES: Final = 0.01
"""Part of the ids that may come twice: more is a fault of the publisher's paging, and others are then missing."""
TOLERANCE: Final = 0.01
"""Part of the known ids by which more may be gone than in the file that was accepted."""


class Reason(StrEnum):
    """Reasons to refuse a file."""

    NO_ROOT = "no_root"
    EMPTY = "empty"
    SHRUNK = "shrunk"
    DUPLICATES = "duplicates"
    MISSING_IDS = "missing_ids"


@dataclass
class Counts:
    """The numbers of a file."""

    offers: int = 0
    """Offers or objects, whatever they hold."""
    new: int = 0
    changed: int = 0
    returned: int = 0
    same: int = 0
    refused: int = 0
    """Offers with a value that can't be used; what is known of them stays."""
    duplicates: int = 0
    missing_ids: int = 0
    known: int = 0
    """Offers that the feed listed last time."""
    gone: int = 0
    """Those of them that the file does not have."""
    parents: int = 0
    """New or changed cities, projects, buildings and sections."""
    no_root: bool = False
    examples: list[dict[str, Any]] = field(default_factory=list)
    """The first refused offers: ext_id, field, expected, came."""


class Doubt(NamedTuple):
    """A reason to refuse a file, with its numbers."""

    reason: Reason
    said: str


class Accepted(NamedTuple):
    """A refusal that a person has accepted."""

    reasons: frozenset[str]
    gone: int


def doubts(counts: Counts, shrink_limit: float) -> list[Doubt]:
    """Returns every reason to refuse a file with these numbers."""
    found = []
    if counts.no_root:
        found.append(Doubt(Reason.NO_ROOT, "the file has no root element"))
    elif not counts.offers:
        found.append(Doubt(Reason.EMPTY, "the file has no offers"))
    if counts.missing_ids:
        found.append(Doubt(Reason.MISSING_IDS, f"{counts.missing_ids} of {counts.offers} offers have no id"))
    if counts.duplicates > counts.offers * DUPLICATES:
        found.append(Doubt(Reason.DUPLICATES, f"{counts.duplicates} of {counts.offers} ids came before in the file"))
    if counts.gone > counts.known * shrink_limit:
        said = f"{counts.gone} of {counts.known} known ids are gone, the limit is {shrink_limit:.0%}"
        found.append(Doubt(Reason.SHRUNK, said))
    return found


def remaining(found: Sequence[Doubt], counts: Counts, accepted: Accepted | None) -> list[Doubt]:
    """Returns the doubts that a person has not accepted: those of other kinds, and a file that lacks more."""
    if accepted is None:
        return list(found)
    within = counts.gone <= accepted.gone + counts.known * TOLERANCE
    return [doubt for doubt in found if doubt.reason not in accepted.reasons or not within]
