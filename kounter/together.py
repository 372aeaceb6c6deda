"""Tasks that only make sense together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Until all end, or one fails: the others are cancelled, and its error comes out as it is. How to leave is told by
    an error's class, and a group of errors has no exit code of ours."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for coroutine in coroutines:
                tasks.create_task(coroutine)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
