"""Which partition a key belongs to."""

from __future__ import annotations

from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from schemas.record import declare_all, partition_key
from streams.kafka.partitioner import partition_of

declare_all()


@given(st.binary(max_size=40), st.integers(1, 64))
def test_keys_go_where_javas_default_partitioner_sends_them(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions


def test_groups_of_keys_share_a_partition() -> None:
    assert partition_key("domofon.message", b"15/MESSAGES_IN_X/0/7") == partition_key("domofon.message", b"15") == b"15"
    assert partition_key("crm.user", b"255") == b"0" != partition_key("crm.user", b"256")
    assert partition_key("crm.user.commands", b"300") == partition_key("crm.user", b"256")
    for odd in (b"", b"x", b"-1", "٣".encode(), b"9" * 5000):
        assert partition_key("crm.user", odd) == odd
    assert partition_key("estate.lead", b"15/1") == b"15/1"
