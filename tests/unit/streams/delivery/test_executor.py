"""What becomes of a command, by what the outside system says. No Kafka, no clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from adapters.bitrix24.sink import Bitrix24Sink
from schemas.bitrix24 import CardAction, CardCommand, CardOutcome, CardReceipt
from schemas.errors import (
    DeliveryDenied,
    DeliveryFailed,
    DeliveryUnavailable,
    OutcomeUnknown,
)
from streams.delivery.ledger import Ledger
from streams.kafka import dead_letters
from streams.ports import AcceptedCommand
from tests.support.desk import COMMAND, TOPIC, Desk, Done, Port, Record, cards
from tests.support.local import local_serde, raw


@pytest.fixture
async def desk() -> Callable[..., Desk]:
    serde, _ = await local_serde(TOPIC, *cards().receipt_topics)
    return lambda *answers: Desk(serde, Port(*answers))


async def test_delivered_at_once(desk: Callable[..., Desk]) -> None:
    it = desk()
    writes = await it.execute()
    assert [topic for topic, _ in writes] == ["bitrix.responses", "estate.lead"]
    assert {entry.key for _, entry in writes} == {b"l-1"}
    receipt = await it.receipt(writes, "estate.lead")
    assert receipt == CardReceipt(
        "l-1",
        "c-1",
        CardAction.CREATE_CARD,
        CardOutcome.SUCCESS,
        77,
        None,
        1,
        ("bitrix_reason", "bitrix_edits", "bitrix_edits_private"),
    )
    assert it.port.calls == [(COMMAND, 1, False)]
    assert it.executor.stats.completed == 1
    assert sum(it.slept) == 0


async def test_ids_of_receipts_follow_from_their_command(desk: Callable[..., Desk]) -> None:
    first, again = await desk().execute(), await desk().execute()
    ids = [dict(entry.headers)["ce_id"] for writes in (first, again) for _, entry in writes]
    assert len(set(ids)) == 1


async def test_what_may_have_been_done_is_said_to_the_port(desk: Callable[..., Desk]) -> None:
    it = desk(OutcomeUnknown("timed out"))
    await it.execute()
    assert [(attempt, uncertain) for _, attempt, uncertain in it.port.calls] == [(1, False), (2, True)]
    it = desk()
    intent = Ledger(it.state).entry("estate.lead:l-1", "c-1", 5)
    await it.commit([intent])
    await it.execute()
    assert it.port.calls[0][2] is True, "a former owner died between its intent and the outcome"
    assert 29 < max(it.slept) <= 30, "its call may still be under way"
    assert Ledger(it.state).get("estate.lead:l-1")[-1] == 77  # type: ignore[index]


async def test_a_clock_that_was_set_back_delays_a_create_no_longer_than_a_call_lasts(desk: Callable[..., Desk]) -> None:
    it = desk()
    topic, entry = Ledger(it.state).entry("estate.lead:l-1", "c-1", 5)
    at = time.time_ns() // 1_000 + 50 * 60 * 1_000_000
    await it.commit([(topic, entry._replace(value=orjson.dumps(["c-1", 5, at, None])))])
    await it.execute()
    assert max(it.slept) == 30


async def test_the_seeds_three_attempts_then_an_error_receipt_and_on_it_goes(desk: Callable[..., Desk]) -> None:
    it = desk(*[DeliveryUnavailable("503")] * 5)
    writes = await it.execute()
    assert it.slept[1:3] == [2.0, 4.0]
    assert len(it.port.calls) == 6
    told = await it.receipt(it.told)
    assert (told.bitrix_outcome, told.bitrix_attempts) == (CardOutcome.ERROR, 3)
    assert told.bitrix_reason == "delivery_unavailable: 503"
    final = await it.receipt(writes)
    assert (final.bitrix_outcome, final.bitrix_lead_id, final.bitrix_attempts) == (CardOutcome.SUCCESS, 77, 6)
    ids = {dict(entry.headers)["ce_id"] for _, entry in [*it.told, *writes]}
    assert len(ids) == 2
    assert (it.executor.stats.stalled, it.executor.stats.retried) == (0, 5)


async def test_who_is_held_by_an_outage_hears_of_it_as_if_it_was_tried() -> None:
    """One probe at a time tries; the others would wait for hours until each had its three."""
    serde, _ = await local_serde(TOPIC, *cards().receipt_topics)
    it = Desk(serde, Port(*[DeliveryUnavailable("503")] * 25), threshold=1)
    others = [COMMAND._replace(ext_id=f"l-{n}", command_id=f"c-{n}") for n in range(9)]
    await asyncio.gather(*(it.execute(other, 5 + n) for n, other in enumerate(others)))
    told = [row for topic, entry in it.told if topic == "bitrix.responses"
            for row in [await serde.decode(topic, entry.value or b"")]]  # fmt: skip
    assert {(row.ext_id, row.bitrix_outcome) for row in told} == {(o.ext_id, CardOutcome.ERROR) for o in others}
    assert len(told) == len(others), "each once"
    assert min(row.bitrix_attempts for row in told) < 3
    assert (it.executor.stats.stalled, it.executor.stats.completed) == (0, len(others))


async def test_an_error_is_told_once_though_another_process_told_it(desk: Callable[..., Desk]) -> None:
    it = desk(*[DeliveryUnavailable("503")] * 5)
    await it.execute(told=True)
    assert it.told == []


async def test_the_intent_is_committed_before_the_call_and_only_if_it_may_make_something() -> None:
    serde, _ = await local_serde(TOPIC, *cards().receipt_topics)
    seen: list[int] = []

    class Watching(Port):
        async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Done:
            seen.append(len(it.committed))
            return await super().deliver(command, attempt, uncertain)

    it = Desk(serde, Watching(DeliveryUnavailable("503")))
    await it.execute()
    assert seen == [1, 2], "each says when it began"
    await it.execute(COMMAND._replace(command_id="c-2"), 6)
    assert seen[2] == len(it.committed) - 2, "its two receipts came after the call, nothing before"
    await it.execute(COMMAND._replace(ext_id="l-2", bitrix_lead_id=5))
    made = Ledger(it.state).get("estate.lead:l-2")
    assert made is not None
    assert made.id == 77, "what the sink says"


@pytest.mark.parametrize("error", [DeliveryDenied("expired"), DeliveryUnavailable("slow", retry_after=3.0)])
async def test_denials_and_limits_are_no_tries_of_a_command(desk: Callable[..., Desk], error: Exception) -> None:
    it = desk(*[error] * 7)
    await it.execute()
    assert {attempt for _, attempt, _ in it.port.calls} == {1}
    told = [(await it.receipt(it.told)).bitrix_attempts] if it.told else []
    assert told == ([0] if isinstance(error, DeliveryDenied) else []), "a denial needs a person, who must hear of it"
    assert it.executor.stats.completed == 1


async def test_a_limit_does_not_make_a_create_uncertain(desk: Callable[..., Desk]) -> None:
    it = desk(DeliveryUnavailable("slow", retry_after=3.0))
    await it.execute()
    assert [uncertain for _, _, uncertain in it.port.calls] == [False, False]


async def test_a_defect_of_the_port_loses_no_command(desk: Callable[..., Desk]) -> None:
    it = desk(KeyError("oops"))
    await it.execute()
    assert [uncertain for _, _, uncertain in it.port.calls] == [False, True]


async def test_a_known_lead_needs_no_search(desk: Callable[..., Desk]) -> None:
    it = desk()
    await it.execute()
    await it.execute(COMMAND._replace(action=CardAction.MOVE_CARD, command_id="c-2"))
    assert it.port.calls[1][0].bitrix_lead_id == 77


@pytest.mark.parametrize(
    ("row", "reason"),
    [(COMMAND._replace(ext_id=""), b"missing_key"), (COMMAND._replace(reply_topic="x"), b"unknown_reply_topic")],
)
async def test_no_command_at_all(desk: Callable[..., Desk], row: CardCommand, reason: bytes) -> None:
    it = desk()
    writes = await it.execute(row)
    assert it.port.calls == []
    assert [(topic, dict(entry.headers)["kounter.reason"]) for topic, entry in writes] == [(dead_letters.TOPIC, reason)]


async def test_noise_and_tombstones(desk: Callable[..., Desk]) -> None:
    it = desk()
    for value, topics in ((b"{}", [dead_letters.TOPIC]), (None, [])):
        record: Any = Record(b"k", value, 1, 0, 1, (), TOPIC)
        assert [topic for topic, _ in await it.executor.execute(it.job(record))] == topics
    assert it.port.calls == []


async def test_a_command_that_could_not_be_parked_is_not_tried(desk: Callable[..., Desk]) -> None:
    """Brokers take any size that is small when compressed."""
    it = desk()
    value = it.serde.encode(TOPIC, COMMAND._replace(title="x" * dead_letters.MOST_BYTES))
    record: Any = Record(b"l-1", value, 1, 0, 1, (), TOPIC)
    ((topic, letter),) = await it.executor.execute(it.job(record))
    assert (topic, letter.key, letter.value) == (dead_letters.TOPIC, b"l-1", None)
    assert dict(letter.headers)["kounter.reason"] == b"too_large"
    assert it.port.calls == []


async def test_an_absent_registry_is_waited_for() -> None:
    serde, registry = await local_serde(TOPIC, *cards().receipt_topics)
    registry.down = 3
    it = Desk(serde, Port())
    await it.execute()
    assert it.executor.stats.completed == 1


async def test_a_call_under_way_comes_to_its_end_when_told_to_stop() -> None:
    class Slow(Port):
        async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Done:
            await asyncio.sleep(0.02)
            return await super().deliver(command, attempt, uncertain)

    serde, _ = await local_serde(TOPIC, *cards().receipt_topics)
    it = Desk(serde, Slow())
    task = asyncio.create_task(it.execute())
    await asyncio.sleep(0.01)
    task.cancel()
    assert len(await task) == 2
    it = Desk(serde, Slow(OutcomeUnknown("timed out")))
    task = asyncio.create_task(it.execute())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(it.port.calls) == 1


async def test_a_job_knows_that_somebody_waits_for_its_receipt() -> None:
    serde, _ = await local_serde(TOPIC, *cards().receipt_topics)

    class Waited(Bitrix24Sink):
        def accept(self, command: Any) -> AcceptedCommand:
            return super().accept(command)._replace(prompt=True)

    port: Any = Port()
    it = Desk(serde, port, Waited(port, port))
    record: Any = Record(*raw(serde, TOPIC, COMMAND, 5), topic=TOPIC)
    job = it.job(record)
    await it.executor.execute(job)
    assert job.prompt


async def test_a_command_that_fails_alone_is_tried_by_the_policy_and_then_parked(desk: Callable[..., Desk]) -> None:
    it = desk(*[DeliveryFailed("500 for this one")] * 3)
    writes = await it.execute()
    receipt = await it.receipt(writes)
    assert (receipt.bitrix_outcome, receipt.bitrix_attempts) == (CardOutcome.ERROR, 3)
    assert receipt.bitrix_reason == "delivery_failed: 500 for this one"
    assert [(attempt, uncertain) for _, attempt, uncertain in it.port.calls] == [(1, False), (2, True), (3, True)]
    assert it.parking.records == 1
    assert it.executor.circuit.state == "closed"
    assert (it.executor.stats.failed, it.executor.stats.stalled, it.told) == (1, 0, [])


async def test_an_outage_before_it_takes_none_of_its_tries(desk: Callable[..., Desk]) -> None:
    it = desk(*[DeliveryUnavailable("503")] * 5, *[DeliveryFailed("500 for this one")] * 2)
    await it.execute()
    assert it.executor.stats.completed == 1
    assert it.parking.records == 0
