"""What ends beside the gateway's server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from kounter.commands.gateway import _both


class Part:
    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def run(self) -> None:
        if self._error is not None:
            raise self._error
        await asyncio.sleep(60)


async def test_the_error_that_ends_one_of_both_comes_out_as_it_is() -> None:
    """Its class tells how to leave; a group of errors has no exit code of ours."""
    broken: Any = Part(KafkaConnectionError())
    with pytest.raises(KafkaConnectionError):
        await _both(broken, Part())  # type: ignore[arg-type]
