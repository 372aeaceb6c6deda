"""The faults, and the plan of a run."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from tests.chaos.arena import SESSION_S, Arena, pump
from tests.support.sessions import is_short

CALM_S: Final = 2.0 if is_short() else 6.0
"""After a fault."""


async def kill_worker(arena: Arena, dice: random.Random) -> str:
    """kill -9, and the supervisor's restart."""
    slot = dice.choice(arena.slots())
    arena.signal(slot, signal.SIGKILL)
    await asyncio.sleep(dice.choice([0.2, 1, SESSION_S + 2]))
    return f"kill -9 of worker {slot}"


async def zombie(arena: Arena, dice: random.Random) -> str:
    """Stopped for longer than its session: its partitions are others' when it wakes."""
    slot = dice.choice(arena.slots())
    arena.signal(slot, signal.SIGSTOP)
    seconds = SESSION_S + CALM_S / 2 * (1 + dice.random())
    await asyncio.sleep(seconds)
    arena.signal(slot, signal.SIGCONT)
    return f"worker {slot} stopped for {seconds:.1f} s and woken"


async def terminate(arena: Arena, dice: random.Random) -> str:
    """SIGTERM, as in a deployment."""
    slot = dice.choice(arena.slots())
    await asyncio.to_thread(arena.remove, slot, signal.SIGTERM)
    arena.start(slot)
    return f"worker {slot} terminated and started anew"


async def kill_broker(arena: Arena, dice: random.Random) -> str:
    """kill -9 of one broker, and its restart."""
    broker = dice.choice(arena.cluster.brokers)
    await asyncio.to_thread(broker.kill)
    await pump(2 + dice.random() * 3, arena)
    await asyncio.to_thread(broker.start)
    await asyncio.to_thread(broker.await_ready)
    await pump(CALM_S, arena)
    return f"kill -9 of broker {broker.node}"


async def add_worker(arena: Arena, dice: random.Random) -> str:
    """One more."""
    slot = max(arena.slots()) + 1
    arena.start(slot)
    return f"worker {slot} added"


async def remove_worker(arena: Arena, dice: random.Random) -> str:
    """One less, killed or terminated."""
    slot = arena.slots()[-1]
    signum = dice.choice([signal.SIGKILL, signal.SIGTERM])
    await asyncio.to_thread(arena.remove, slot, signum)
    return f"worker {slot} removed by {signum.name}"


async def toggle_standby(arena: Arena, dice: random.Random) -> str:
    """Standby replicas on or off, worker by worker."""
    arena.standby = 1 - arena.standby
    for slot in arena.slots():
        await asyncio.to_thread(arena.remove, slot, signal.SIGTERM)
        arena.start(slot)
        await pump(CALM_S, arena)
    return f"standby replicas: {arena.standby}"


Fault = Callable[[Arena, random.Random], Awaitable[str]]
SHORT: Final[tuple[Fault, ...]] = (kill_worker, zombie, add_worker, terminate, kill_broker, remove_worker)
"""Each kind once; standby is on from the start."""
FULL: Final[tuple[Fault, ...]] = (
    *(kill_worker, zombie, terminate, kill_worker, kill_broker, add_worker, kill_worker, zombie),
    *(toggle_standby, kill_worker, zombie, kill_broker, remove_worker, kill_worker, terminate, zombie),
    *(add_worker, kill_broker, kill_worker, zombie, toggle_standby, kill_worker, remove_worker, zombie),
)
"""24 of them."""
