"""Counters of a worker. Totals since its start."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Stats:
    """Counters of one worker process and domain."""

    records: int = 0
    """Records read from source topics and done with."""
    folded: int = 0
    """Records that changed a state."""
    duplicates: int = 0
    """Records with the stored sequence number, or that changed nothing."""
    stale: int = 0
    """Records with a lower one."""
    unknown: int = 0
    """Records about a thing that is not known, or is deleted, and that created nothing."""
    dead_letters: int = 0
    extra_fields: int = 0
    """Records of a writer with fields that Kounter lacks."""
    outgoing: int = 0
    """Records that reactions, decisions and replies wrote."""
    transactions: int = 0
    gaps: int = 0
    """Times that a batch began after the position, or records that were handed out never came, and the lane sought
    back.
    """
    overlaps: int = 0
    """Times that a batch began before the position: records read again."""
    deleted: int = 0
    """Records of source topics that were deleted before they were read, as offsets count them."""
    not_recovered: int = 0
    """Times that records came before the state was whole."""
    fold_seconds: float = 0.0
    commit_seconds: float = 0.0
    store_seconds: float = 0.0

    def add(self, other: Stats) -> None:
        """Add another's counts to these."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def as_dict(self) -> dict[str, float]:
        """Returns the counts for logs and JSON."""
        return {name: round(value, 3) for name, value in asdict(self).items()}
