"""Mends aiokafka 0.14: it does not look at the error of a whole OffsetFetch answer (KIP-88, since version 2).

A coordinator that still loads its offsets, as one does after a broker's restart, answers with that error and no
partitions. aiokafka takes it for a group that never committed, and reads everything again from the start: seen under
chaos as outputs written twice. With `install` the answer is raised, and asked for again like any retriable error.
"""

from __future__ import annotations

from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code

_send: Final = AIOKafkaClient.send
OFFSET_FETCH: Final = 9
"""API key."""


async def _checked_send(self: AIOKafkaClient, *args: Any, **options: Any) -> Any:
    response = await _send(self, *args, **options)
    if getattr(response, "API_KEY", None) == OFFSET_FETCH and (code := getattr(response, "error_code", 0)):
        raise for_code(code)()
    return response


def install() -> None:
    """For every client of this process, consumers' and admins'; again: no change."""
    AIOKafkaClient.send = _checked_send
