"""Which partition a key belongs to."""

from __future__ import annotations

from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from schemas.kafka import partition_of


@given(st.binary(max_size=40), st.integers(1, 64))
def test_keys_go_where_javas_default_partitioner_sends_them(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions
