"""The fold of one batch of one partition: raw records in, changed states and records to write out.

No local state changes here. Changed states lie over the stored ones; a batch whose commit fails leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from schemas.cloudevents import SECONDS, cause_id
from schemas.commands import CommandOutcome, CommandReply
from schemas.errors import InvalidInput, KounterError, UndecodableRecord, shorten
from schemas.fields import MOST_ID, is_ext_id
from schemas.record import SEQUENCE, contract, partition_key
from streams.aggregate import Accepted, Aggregate, Cause, Outgoing, Rejected, id_number
from streams.kafka import dead_letters
from streams.kafka.partitioner import partition_of
from streams.kafka.transactions import Destination, OtherPartition, ProducerRecord
from streams.lane.outgoing import OutgoingEncoder, TooLarge
from streams.lane.source_topic import SourceTopic
from streams.lane.stats import Stats
from tables.fold import is_stale
from tables.layout import State

Read = Callable[[bytes], bytes | None]
EARLIEST_MS, LATEST_MS = SECONDS.start * 1_000, SECONDS.stop * 1_000
"""Record times in milliseconds that states, views and people can hold. Brokers before 4.0 accept any."""


class Unlearned(Exception):
    """A schema id that was not met before: ask the registry, then fold the batch again."""


PUT_BACK: Final = (
    "`kounter dead-letters retry --reason wrong_partition` puts it on its key's partition, nothing has to be produced"
    " again. Fix the producer's partitioner first."
)
OTHER_ID: Final = "Produce it again under another id; put back as it is, it comes here again."
UNWRITABLE: Final = (TooLarge, InvalidInput)
"""Errors of a record that requires a value that no record can hold, as a number above 64 bits: the record's own fault,
so it becomes a dead letter. Any other exception of a rule is a defect, and stops the lane before data is lost.
"""


class Batch:
    """One run over the records that are committed together."""

    def __init__(self, outgoing: OutgoingEncoder, partition: int, read: Read) -> None:
        self._outgoing, self._partition, self._read = outgoing, partition, read
        self.states: dict[bytes, bytes | None] = {}
        """Changed states, encoded; None: deleted. Each is encoded at once, and decoded if it is needed again: that
        costs less than to keep decoded states, which the processor's cache can't hold; and a state that is too large is
        found while its record is at hand.
        """
        self.writes: dict[Destination, list[ProducerRecord]] = {}
        self.stats = Stats()

    def fold(self, source: SourceTopic, records: Sequence[Any]) -> None:
        """Fold records of one topic, in order. Raises Unlearned, and any error of a domain's function."""
        known, prefix, states, read = source.known, source.prefix, self.states, self._read
        aggregate, topic = source.aggregate, source.topic
        load, evolve, react = aggregate.layout.load, aggregate.evolve, aggregate.react
        dump, limit = aggregate.layout.dump, self._outgoing.max_state_bytes
        self.stats.records += len(records)
        folded = 0
        for record in records:
            key, value = record.key, record.value
            if key is None or value is None:
                self._bare(source, record)
                continue
            entry = known.get(value[:5])
            if not isinstance(entry, tuple):
                self._unreadable(source, record, entry)
                continue
            decode, key_index = entry
            try:
                event = decode(value)
            except UndecodableRecord as error:
                self._dead_letter(source, record, error)
                continue
            if event[key_index].encode() != key or not EARLIEST_MS <= record.timestamp < LATEST_MS:
                self._unfit(source, record, event, key_index)
                continue
            state_key = prefix + key
            data = states[state_key] if state_key in states else read(state_key)
            # A key that has a state was an id, and on its partition, when that was made: only new ones need the (slow)
            # hash.
            if data is None and not (self._is_id(source, record) and self._is_home(source, record)):
                continue
            before = None if data is None else load(data)
            if source.is_commands:
                self._fold(source, record, state_key, before, event)
                continue
            # The same as `_fold` for the common case, without what it does not need: half of the lane's time is here.
            try:
                at = record.timestamp * 1000
                after = evolve(before, event, at)
                if after is before or after is None:
                    self._ignored(before, event)
                    continue
                data = dump(after)
                if len(data) + len(key) > limit:
                    raise TooLarge(f"{aggregate.topic} {after.ext_id[:80]}: a state of {len(data) + len(key)} bytes")
                if react is not None:
                    cause = Cause(topic, record.partition, record.offset, at)
                    if outgoing := react(before, after, event, cause):
                        self._tell(record, cause, enumerate(outgoing))
            except UNWRITABLE as error:
                self._dead_letter(source, record, error)
                continue
            except Exception as error:
                error.add_note(f"while folding {topic} partition {record.partition} offset {record.offset}")
                raise
            states[state_key] = data
            folded += 1
        self.stats.folded += folded

    def _fold(self, source: SourceTopic, record: Any, state_key: bytes, before: State | None, event: Any) -> None:
        """Fold a record with all steps: decide or evolve, react, encode; applied only if all of them worked."""
        event_number = 0 if source.is_commands else None
        cause = Cause(source.topic, record.partition, record.offset, record.timestamp * 1000, event_number)
        try:
            if source.is_commands:
                after, outgoing = self._decide(source.aggregate, before, event, cause)
            else:
                after, told = self._evolve(source.aggregate, before, event, cause)
                outgoing = list(enumerate(told))
            if after is before and not outgoing:
                self._ignored(before, event)
                return
            data = None if after is None else self._outgoing.dump(source.aggregate, after)
            self._tell(record, cause, outgoing)
        except UNWRITABLE as error:
            self._dead_letter(source, record, error)
            return
        except Exception as error:
            error.add_note(f"while folding {source.topic} partition {record.partition} offset {record.offset}")
            raise
        if after is not before:
            self.states[state_key] = data
            self.stats.folded += 1

    def _tell(self, record: Any, cause: Cause, outgoing: Iterable[tuple[int, Outgoing]]) -> None:
        """Add records to the writes, all or, if one is `UNWRITABLE`, none. Each comes with the number for its id."""
        trace = None
        for name, value in record.headers:
            if name == "traceparent" and value is not None:
                trace = value.decode("ascii", "replace")
        encode, folded, at, records = self._outgoing.record, self._outgoing.folded_topics, cause.at, []
        for n, out in outgoing:
            topic, written = out[0], encode(out, cause_id(cause.topic, cause.partition, cause.offset, n), at, trace)
            records.append((self._destination(topic, written[0]) if topic in folded else topic, written))
        writes = self.writes
        for destination, written in records:
            if destination in writes:
                writes[destination].append(written)
            else:
                writes[destination] = [written]
        self.stats.outgoing += len(records)

    def _destination(self, topic: str, key: bytes | None) -> Destination:
        """Returns the destination of a record: a topic that is folded needs the partition of the key; any other gets it
        in the lane's own.
        """
        if key is None:
            return topic
        home = partition_of(partition_key(topic, key), self._outgoing.partitions)
        return topic if home == self._partition else OtherPartition(topic, home)

    def _evolve(
        self, aggregate: Aggregate, before: State | None, event: Any, cause: Cause
    ) -> tuple[State | None, Sequence[Outgoing]]:
        after = None if event is None else aggregate.evolve(before, event, cause.at)
        if after is before or aggregate.react is None:
            return after, ()
        return after, aggregate.react(before, after, event, cause)

    def _decide(
        self, aggregate: Aggregate, before: State | None, command: Any, cause: Cause
    ) -> tuple[State | None, list[tuple[int, Outgoing]]]:
        """Decide a command. Decided events are numbered by the lane: read back from their topic they are duplicates."""
        assert aggregate.decide is not None
        verdict = aggregate.decide(before, command, cause)
        key_index = contract(type(command)).fields.index(contract(type(command)).key)
        reply = CommandReply(command[key_index], getattr(command, "command_id", None) or cause.id(0))
        after = before
        outgoing: list[tuple[int, Outgoing]] = []
        if isinstance(verdict, Rejected):
            reply = reply._replace(outcome=CommandOutcome.REJECTED, code=verdict.code, reason=verdict.reason)
            outgoing += _numbered(0, verdict.tell)
        else:
            accepted = verdict if isinstance(verdict, Accepted) else Accepted(verdict)
            for i, event in enumerate(accepted.events, start=1):
                number = 1 if after is None or after.update_id is None else after.update_id + 1
                numbered = event._replace(**{SEQUENCE: number})
                outgoing.append((id_number(i, 0), Outgoing(aggregate.topic, numbered)))
                own = Cause(cause.topic, cause.partition, cause.offset, cause.at, i)
                after, reactions = self._evolve(aggregate, after, numbered, own)
                outgoing += _numbered(i, reactions)
            outgoing += _numbered(0, accepted.tell)
            if not accepted.replies:
                return after, outgoing
            reply = reply._replace(outcome=CommandOutcome.ACCEPTED, subject=accepted.subject)
        reply = reply._replace(version=0 if after is None else after.version)
        return after, [*outgoing, (0, Outgoing(aggregate.replies, reply))]

    def _bare(self, source: SourceTopic, record: Any) -> None:
        """Handle a record without key or value: the first can't be folded, the second deletes."""
        if record.key is None:
            self._dead_letter(
                source, record, UndecodableRecord("null_key", "a record without a key belongs to nothing")
            )
        elif source.is_commands:
            self._dead_letter(
                source, record, UndecodableRecord("null_value", "a command without a value asks for nothing")
            )
        elif not EARLIEST_MS <= record.timestamp < LATEST_MS:
            self._untimely(source, record)
        elif self._is_home(source, record):
            state_key = source.prefix + record.key
            data = self.states[state_key] if state_key in self.states else self._read(state_key)
            if data is None and not self._is_id(source, record):
                return
            before = None if data is None else source.aggregate.layout.load(data)
            self._fold(source, record, state_key, before, None)

    def _is_id(self, source: SourceTopic, record: Any) -> bool:
        """Returns whether a new key keeps the limits of ids; else it becomes a dead letter: no address could name the
        thing.
        """
        key = record.key.decode("utf-8", "replace")
        if is_id := is_ext_id(key):
            return is_id
        came = f"{len(key)} characters" if len(key) > MOST_ID else "control characters" if key else "nothing"
        reason = f"{shorten(key)}: an id has 1 to {MOST_ID} characters, none of control; this one has {came}"
        self._dead_letter(source, record, UndecodableRecord("invalid_id", reason, hint=OTHER_ID))
        return False

    def _is_home(self, source: SourceTopic, record: Any) -> bool:
        """Returns whether the key belongs to this partition; else it becomes a dead letter: its order with the others
        is broken.
        """
        home = partition_of(partition_key(source.topic, record.key), self._outgoing.partitions)
        if home != self._partition:
            reason = f"the key belongs to partition {home}: set partitioner=murmur2_random at the producer"
            self._dead_letter(source, record, UndecodableRecord("wrong_partition", reason, hint=PUT_BACK))
        return home == self._partition

    def _unfit(self, source: SourceTopic, record: Any, event: Any, key_index: int) -> None:
        if event[key_index].encode() == record.key:
            self._untimely(source, record)
            return
        why = f"the record's key is not its {event._fields[key_index]}"
        self._dead_letter(source, record, UndecodableRecord("key_mismatch", why))

    def _untimely(self, source: SourceTopic, record: Any) -> None:
        why = f"the record's time is {record.timestamp} ms since 1970, beyond the years 1 to 9999"
        self._dead_letter(source, record, UndecodableRecord("time_out_of_range", why))

    def _unreadable(self, source: SourceTopic, record: Any, why: UndecodableRecord | None) -> None:
        if why is None:
            if len(record.value) > 5 and record.value[0] == 0:
                raise Unlearned
            why = UndecodableRecord("not_confluent_wire", "not a zero byte, four bytes of schema id and a body")
        self._dead_letter(source, record, why)

    def _ignored(self, before: State | None, event: Any) -> None:
        if before is None and event is not None:
            self.stats.unknown += 1
        elif before is not None and event is not None and is_stale(before, event):
            self.stats.stale += 1
        else:
            self.stats.duplicates += 1

    def _dead_letter(self, source: SourceTopic, record: Any, error: KounterError) -> None:
        self.writes.setdefault(dead_letters.TOPIC, []).append(dead_letters.dead_letter(source.topic, record, error))
        self.stats.dead_letters += 1


def _numbered(event: int, told: Iterable[Outgoing]) -> list[tuple[int, Outgoing]]:
    """Returns the records of a command or of one of its events, each with the number for its id; place 0 is that of the
    reply or the event.
    """
    return [(id_number(event, place), out) for place, out in enumerate(told, start=1)]
