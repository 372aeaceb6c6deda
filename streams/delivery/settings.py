"""Settings of a delivery."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, Field

MOST_IN_FLIGHT: Final = 1_000
"""Commands in the memory of one process."""


class DeliverySettings(BaseModel):
    """Settings by which commands are executed."""

    waits_s: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (0.0, 2.0, 4.0)
    """Seconds before each try, as many as there are (docs/contracts/core-users.md: at 0, 2, 4 s). Then, or when an
    outage has kept the command waiting for as long, an error receipt is sent, and tries go on ever later: nothing is
    dropped.
    """
    parallel: int = Field(default=200, ge=1, le=MOST_IN_FLIGHT)
    """Calls at the same time; those of one key never overlap. Fewer while the outside system limits us."""
    in_flight: int = Field(default=MOST_IN_FLIGHT, ge=1, le=MOST_IN_FLIGHT)
    """Commands in memory; the others stay in Kafka."""
    circuit_failures: int = Field(default=5, ge=1)
    """Failures in a row, of any keys, after which the outside system counts as down."""
    circuit_first_s: float = Field(default=1.0, gt=0, le=60)
    """Seconds until the first probe; doubles up to 60 s."""
    drain_s: float = Field(default=10.0, ge=0)
    """Seconds that calls under way get to end before the partition is given up."""
