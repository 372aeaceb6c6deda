"""Settings of the lane."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Guarantee = Literal["exactly_once", "at_least_once"]


class LaneSettings(BaseModel):
    """Settings of the lanes."""

    guarantee: Guarantee = "exactly_once"
    """``at_least_once``: lower latency; after a crash the last outgoing records come again, with the same ids."""
    max_records: int = Field(default=3_000, ge=1)
    """Records of one transaction."""
    gather_ms: float = Field(default=5.0, ge=0)
    """Milliseconds before a transaction, for more records to share it."""
    max_state_bytes: int = Field(default=800_000, ge=1_000, le=1_000_000)
    """Bytes of one encoded state with its key; a record that would make it larger goes to dead-letters."""
    standby_replicas: int = Field(default=0, ge=0)
    """Other workers that keep a warm copy of a partition's state."""
    session_timeout_s: float = Field(default=10.0, ge=2)
    """Seconds of silence after which a worker's partitions go to others."""
