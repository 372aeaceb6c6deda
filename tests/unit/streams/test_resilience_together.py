"""What ends one of several tasks."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError

from streams.resilience import together


async def test_the_error_that_ends_one_of_them_ends_all_and_comes_out_as_it_is() -> None:
    cancelled = False

    async def broken() -> None:
        raise KafkaConnectionError

    async def waiting() -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled = True
            raise

    with pytest.raises(KafkaConnectionError):
        await together(waiting(), broken())
    assert cancelled
