"""aiokafka's clients, used past their public names."""

from __future__ import annotations

from aiokafka.producer.message_accumulator import BatchBuilder

from streams.kafka.clients import append_all


def test_many_records_at_once_are_the_same_batches_as_one_by_one() -> None:
    headers = [("ce_id", b"1")]
    entries = [(b"%d" % n, None if n % 7 == 0 else b"v" * 50, headers[: n % 2], 1_000 + n) for n in range(100)]
    entries.insert(40, (b"large", b"v" * 5_000, [], 7))
    done, taken = 0, []
    while done < len(entries):
        at_once, single = builder(), builder()
        count = append_all(at_once, entries, done)
        for key, value, head, timestamp in entries[done:]:
            if single.append(timestamp=timestamp, key=key, value=value, headers=head) is None:
                break
        assert at_once._build() == single._build()
        assert at_once.record_count() == single.record_count() == count
        done += count
        taken.append(count)
    assert sum(taken) == 101
    assert 1 in taken


def builder() -> BatchBuilder:
    return BatchBuilder(1_000, 0, is_transactional=True, key_serializer=None, value_serializer=None)
