"""The garbage collector of a process that works on records."""

from __future__ import annotations

import gc


def settle_collector() -> None:
    """Tune the garbage collector after set-up: a worker makes many short-lived objects and no cycles, so collections
    are mostly waste.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
