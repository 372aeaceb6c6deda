"""The private names of Faust 0.15.3 and aiokafka 0.14.0 that Kounter uses, each with its reason.

They are checked at start, and by a test: a new version of either fails with the name that is gone, not with lost data.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from schemas.errors import BrokenSetup

PRIVATE_NAMES: Final = {
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._create_worker_consumer": "read_committed, fetch wait",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._fetch_records": "positions as of each fetch",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._seek_wait": "positions after a seek",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread._ensure_consumer": "the aiokafka consumer",
    "faust.transport.drivers.aiokafka:Consumer._new_consumer_thread": "our thread in its place",
    "faust.transport.drivers.aiokafka:Consumer._wait_next_records": "the fetch of one poll",
    "faust.transport.drivers.aiokafka:Consumer._commit": "offsets without transactions",
    "faust.transport.consumer:Consumer._read_offset": "records that Faust takes for known reach the lanes, which judge",
    "faust.transport.consumer:Consumer._committed_offset": "where nothing was committed, a seek leaves out",
    "faust.tables.recovery:Recovery._wait": "a recovery that takes too long is an error",
    "asyncio.queues:Queue._init": "what waits for the agent: in the _queue that this makes",
    "faust.streams:_CStreamIterator": "without the compiled stream, messages of an old generation are acked",
    "aiokafka:AIOKafkaConsumer._subscription": "a fetch's position, markers and aborted records included",
    "aiokafka:AIOKafkaConsumer._coordinator": "all committed offsets in one request",
    "aiokafka:AIOKafkaConsumer._fetch_max_wait_ms": "the long poll's length",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.fetch_committed_offsets": "the same",
    "aiokafka.consumer.group_coordinator:GroupCoordinator.check_errors": "a group's errors, without polling",
    "aiokafka.consumer.group_coordinator:GroupCoordinator._do_heartbeat": "whether a group still counts us in",
    "aiokafka.consumer.fetcher:Fetcher._fetch_task": "`patches` ends the fetches itself",
    "aiokafka.consumer.fetcher:Fetcher._pending_tasks": "the same",
    "aiokafka.consumer.fetcher:Fetcher._fetch_waiters": "the same",
    "aiokafka.consumer.fetcher:Fetcher._notify": "the same",
    "aiokafka.consumer.fetcher:Fetcher._retrieve_offsets": "`patches` names the partitions without an answer",
    "aiokafka.consumer.fetcher:Fetcher._client": "the same",
    "aiokafka.consumer.fetcher:Fetcher._update_fetch_positions": "`deleted_records` tells what was never read",
    "aiokafka.consumer.subscription_state:TopicPartitionState.await_reset": "the same",
    "aiokafka.consumer.subscription_state:TopicPartitionState._position": "the same",
    "aiokafka:AIOKafkaProducer._message_accumulator": "`idempotent` stops producers without sending what they hold",
    "aiokafka.producer.message_accumulator:MessageAccumulator.fail_all": "the same",
    "aiokafka.admin:AIOKafkaAdminClient._send_request": "deletes a group, for which there is no public call",
    "aiokafka.client:AIOKafkaClient.send": "`patches` looks at an error that aiokafka does not",
    "aiokafka.consumer.fetcher:MemoryRecords": "`unpacking` keeps the bytes of a fetch",
    "aiokafka.consumer.fetcher:PartitionRecords._unpack_records": "`unpacking` begins again within a fetch",
    "aiokafka.consumer.fetcher:PartitionRecords._records_iterator": "many records at once; what came before an error",
    "aiokafka.consumer.fetcher:PartitionRecords._records": "which reader was used",
    "aiokafka.consumer.fetcher:FetchResult._partition_records": "what stays while its partition stands",
    "aiokafka.consumer.fetcher:FetchResult._topic_partition": "the same",
    "aiokafka.consumer.fetcher:FetchResult._update_position": "the same",
    "aiokafka.consumer.fetcher:Fetcher._records": "which partitions of a consumer stand",
    "aiokafka.consumer.fetcher:Fetcher._subscriptions": "whose fetcher it is, before the consumer starts",
    "aiokafka.consumer.fetcher:Fetcher.fetched_records": "`unpacking` raises what can't be unpacked, or stands",
    "aiokafka:AIOKafkaConsumer._fetcher": "the same",
    "aiokafka.record._crecords.default_records:gzip_decode": "`compression` has a bound",
    "aiokafka.record._crecords.default_records:snappy_decode": "the same",
    "aiokafka.record._crecords.default_records:lz4_decode": "the same",
    "aiokafka.record._crecords.default_records:zstd_decode": "the same",
    "aiokafka.record._crecords.legacy_records:gzip_decode": "the same",
    "aiokafka.record._crecords.legacy_records:snappy_decode": "the same",
    "aiokafka.record._crecords.legacy_records:lz4_decode": "the same",
    "aiokafka.record.memory_records:MemoryRecords": "`header_names` reads headers whose names are no UTF-8",
    "aiokafka.record.memory_records:_MemoryRecordsPy._cache_next": "the same",
    "aiokafka.record.memory_records:_MemoryRecordsPy._next_slice": "the same",
    "aiokafka.record.default_records:_DefaultRecordBatchPy._read_msg": "the same",
    "aiokafka.producer.message_accumulator:BatchBuilder._builder": "many records at once: a third of the time",
    "aiokafka.producer.message_accumulator:BatchBuilder._relative_offset": "the same",
    "aiokafka.producer.sender:BACKOFF_OVERRIDE": "back-off between transactions",
}
_SET_IN_INIT: Final = {
    "_subscription", "_coordinator", "_fetch_max_wait_ms", "_builder", "_relative_offset", "_read_offset",
    "_committed_offset", "_next_slice", "_position",
    "_records_iterator", "_records", "_partition_records", "_topic_partition", "_subscriptions", "_fetcher",
    "_client", "_fetch_task", "_pending_tasks", "_fetch_waiters", "_message_accumulator",
}  # fmt: skip


def verify() -> None:
    """Raise BrokenSetup if a private name is gone, or Faust was built without its compiled stream."""
    for path, reason in PRIVATE_NAMES.items():
        module, _, name = path.partition(":")
        try:
            target: Any = importlib.import_module(module)
        except ImportError:
            target = None
        *outer, last = name.split(".")
        for part in outer:
            target = getattr(target, part, None)
        if last in _SET_IN_INIT:
            found = target is not None and any(last in _names_of_init(kind) for kind in target.__mro__)
        else:
            found = getattr(target, last, None) is not None
        if not found:
            raise BrokenSetup(
                f"{path} is gone, it is needed for: {reason}",
                hint="Install the pinned versions: faust-streaming 0.15.3 with its compiled parts, aiokafka 0.14.0.",
            )


def _names_of_init(kind: type) -> tuple[str, ...]:
    """Returns the names that a class sets in ``__init__``. A class of Kounter may stand in the place of theirs by now,
    and is made from it.
    """
    code = getattr(vars(kind).get("__init__"), "__code__", None)
    return () if code is None else tuple(code.co_names)
