"""Limits for the age of a local copy of a changelog, common to partition stores and the view."""

from __future__ import annotations

import time
from typing import Final

STALE_S: Final = 5 * 86_400
"""Seconds. A copy that is so far behind is rebuilt: the changelog drops tombstones after 7 days."""
AHEAD_S: Final = 3_600.0
"""Seconds. A copy that is so far ahead was written under a clock that was set back since: its age is unknown."""


def is_usable(as_of: float) -> bool:
    """Returns whether a copy can be continued. ``as_of``: its time, in seconds since the epoch."""
    return -AHEAD_S < time.time() - as_of < STALE_S
