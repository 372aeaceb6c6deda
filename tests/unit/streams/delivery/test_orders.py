"""Parked keys, and what a person says about them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from kounter.connectors import sinks
from schemas.bitrix24 import CardAction, CardCommand, CardOutcome, OwnId
from schemas.errors import DeliveryRefused
from schemas.parking import ParkedAction, ParkedOrder
from schemas.record import contract
from streams.delivery.parking import SINCE
from streams.kafka import dead_letters
from tests.support.desk import COMMAND, TOPIC, Desk, Done, Port, cards
from tests.support.local import local_serde

Make = Callable[..., Desk]
REFUSED = DeliveryRefused("no stage NEU")


def move(n: int) -> CardCommand:
    return COMMAND._replace(action=CardAction.MOVE_CARD, command_id=f"m-{n}", stage=f"S{n}")


@pytest.fixture
async def make() -> Make:
    serde, _ = await local_serde(TOPIC, *cards().receipt_topics)
    return lambda *answers: Desk(serde, Port(*answers))


async def parked(make: Make, *answers: Any) -> Desk:
    """A desk with a refused create at 5 and two moves behind it."""
    it = make(REFUSED, *answers)
    for n in range(3):
        await it.execute(move(n) if n else COMMAND, 5 + n)
    return it


def called(it: Desk) -> list[str]:
    return [command.command_id for command, _, _ in it.port.calls]


async def test_a_refused_command_parks_its_key_and_others_go_on(make: Make) -> None:
    it = make(REFUSED)
    writes = await it.execute()
    receipt = await it.receipt(writes)
    assert (receipt.bitrix_outcome, receipt.bitrix_reason) == (CardOutcome.ERROR, "delivery_refused: no stage NEU")
    assert await it.execute(move(1), 6) == [], "behind it, without a call or a receipt"
    assert len(await it.execute(COMMAND._replace(ext_id="l-2", command_id="c-9"), 7)) == 2
    assert called(it) == ["c-1", "c-9"]
    assert (it.parking.records, it.parking.keys) == (2, 1)
    first = it.parking.next(b"l-1")
    assert first is not None
    assert first.value == it.serde.encode(TOPIC, COMMAND)
    assert "kounter parked" in first.errors["kounter.hint"]


async def test_a_retry_carries_them_out_in_order_and_frees_the_key(make: Make) -> None:
    it = await parked(make)
    refusal = dict(next(entry for topic, entry in it.committed if topic == "bitrix.responses").headers)["ce_id"]
    it.committed.clear()
    assert await it.execute(ParkedOrder("l-1"), 9) == []
    assert called(it) == ["c-1", "c-1", "m-1", "m-2"]
    assert b"l-1" not in it.parking
    answers = [entry for topic, entry in it.committed if topic == "bitrix.responses"]
    ids = [dict(entry.headers)["ce_id"] for entry in answers]
    assert len({*ids, refusal}) == 4, "a receipt of a retry is another than the refusal's"
    await it.execute(move(3), 10)
    assert called(it)[-1] == "m-3"


async def test_told_to_stop_a_retry_calls_out_no_more_and_the_order_comes_again(make: Make) -> None:
    it = await parked(make)

    class Slow(Port):
        async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Done:
            await asyncio.sleep(0.02)
            return await super().deliver(command, attempt, uncertain)

    it.executor = Desk(it.serde, port := Slow()).executor
    task = asyncio.create_task(it.execute(ParkedOrder("l-1"), 9))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [command.command_id for command, _, _ in port.calls] == ["c-1"], "the call under way came to its end"
    assert it.parking.records == 2, "and is done; the others stay for who gets the partition"


async def test_refused_again_it_stays_with_the_rest(make: Make) -> None:
    it = await parked(make)
    since = [p.errors[SINCE] for p in [it.parking.next(b"l-1")] if p]
    it.port.answers = [DeliveryRefused("again")]
    await asyncio.sleep(0.002)
    writes = await it.execute(ParkedOrder("l-1"), 9)
    assert (await it.receipt(writes)).bitrix_reason == "delivery_refused: again"
    assert (it.parking.records, len(it.port.calls)) == (3, 2)
    first = it.parking.next(b"l-1")
    assert first is not None
    assert (first.cause, [first.errors[SINCE]]) == ("delivery_refused: again", since)


async def test_an_edit_mends_the_first_and_stays_if_that_did_not_help(make: Make) -> None:
    it = await parked(make)
    order = ParkedOrder("l-1", ParkedAction.RETRY, (5,), '{"stage": "NEW"}', "ann")
    it.port.answers = [DeliveryRefused("again")]
    await it.execute(order, 9)
    assert it.port.calls[-1][0].stage == "NEW"
    first = it.parking.next(b"l-1")
    assert first is not None
    assert dict(first.headers)["kounter.edited_from"] == b"bitrix.commands-0@5"
    await it.execute(ParkedOrder("l-1"), 10)
    assert [command.stage for command, _, _ in it.port.calls[2:]] == ["NEW", "S1", "S2"]


async def test_another_lead_that_a_person_names_is_also_that_of_the_commands_behind(make: Make) -> None:
    it = make(REFUSED)
    for n in range(3):
        await it.execute(move(n)._replace(bitrix_lead_id=5), 5 + n)
    await it.execute(ParkedOrder("l-1", ParkedAction.RETRY, (5,), '{"bitrix_lead_id": 77}', "ann"), 9)
    assert [command.bitrix_lead_id for command, _, _ in it.port.calls] == [5, 77, 77, 77]


async def test_a_retry_that_does_not_mean_the_first_does_nothing(make: Make) -> None:
    it = await parked(make)
    await it.execute(ParkedOrder("l-1", offsets=(6,)), 9)
    assert len(it.port.calls) == 1, "5 is before it"
    await it.execute(ParkedOrder("l-1", offsets=(5,)), 10)
    assert called(it) == ["c-1", "c-1", "m-1", "m-2"]
    await it.execute(ParkedOrder("l-1", offsets=(5,)), 11)
    assert len(it.port.calls) == 4, "the same again finds nothing"


async def test_dropped_are_gone_and_the_rest_stays(make: Make) -> None:
    it = await parked(make)
    await it.execute(ParkedOrder("l-1", ParkedAction.DROP, (5,)), 9)
    assert it.parking.records == 2
    await it.execute(ParkedOrder("l-1", ParkedAction.DROP), 10)
    assert (it.parking.records, len(it.port.calls)) == (0, 1)


async def test_whose_a_lead_is_need_not_be_looked_at_if_we_made_it_or_a_person_names_it(make: Make) -> None:
    """Any other id may have been learned in another portal."""
    it = make()
    await it.execute(COMMAND._replace(bitrix_lead_id=5), 1)
    await it.execute(move(1)._replace(bitrix_lead_id=5), 2)
    it.port.answers.append(REFUSED)
    other = COMMAND._replace(ext_id="l-2", bitrix_lead_id=6)
    await it.execute(other, 3)
    for number, edit in enumerate(('{"stage": "NEW"}', '{"bitrix_lead_id": 8}')):
        it.port.answers += [REFUSED] * (1 - number)
        await it.execute(ParkedOrder("l-2", offsets=(3,), edit=edit), 4 + number)
    named = [(c.bitrix_lead_id, isinstance(c.bitrix_lead_id, OwnId)) for c, _, _ in it.port.calls]
    assert named == [(5, False), (77, True), (6, False), (6, False), (8, True)]


@pytest.mark.parametrize(
    "order", [ParkedOrder("l-1", edit='{"stage": "NEW"}'), ParkedOrder("l-1", "BURN")]  # type: ignore[arg-type]
)  # fmt: skip
async def test_an_order_that_makes_no_sense_is_a_dead_letter(make: Make, order: ParkedOrder) -> None:
    it = await parked(make)
    record = order if order.action in tuple(ParkedAction) else order._replace(action="UNKNOWN")  # type: ignore[arg-type]
    assert [topic for topic, _ in await it.execute(record, 9)] == [dead_letters.TOPIC]
    assert it.parking.records == 3


async def test_an_edit_that_does_not_fit_changes_nothing(make: Make) -> None:
    it = await parked(make)
    assert await it.execute(ParkedOrder("l-1", offsets=(5,), edit='{"sage": "NEW"}'), 9) == []
    assert (it.parking.records, len(it.port.calls)) == (3, 1)
    assert contract(ParkedOrder).personal == {"edit"}


async def test_a_crash_in_the_middle_of_an_order_repeats_nothing_that_was_done(make: Make) -> None:
    it = await parked(make)
    commit = it.commit

    async def dying(writes: Any) -> None:
        await commit(writes)
        if any(topic == "bitrix.responses" for topic, _ in writes):
            raise ConnectionError("the broker is gone")

    it.commit = dying  # type: ignore[method-assign]
    order = ParkedOrder("l-1", offsets=(5,))
    with pytest.raises(ConnectionError):
        await it.execute(order, 9)
    it.commit = commit  # type: ignore[method-assign]
    assert (called(it), it.parking.records) == (["c-1", "c-1"], 2)
    await it.execute(order, 9)
    assert called(it) == ["c-1", "c-1", "m-1", "m-2"]
    assert it.parking.records == 0


def test_what_any_delivery_parks_can_be_spoken_of() -> None:
    ours = {topic for topic in contract(ParkedOrder).topics if not topic.startswith("test.")}  # other tests' stay
    assert ours == set(sinks().values())


async def test_a_receipt_says_what_was_done_instead_of_what_was_asked(make: Make) -> None:
    it = await parked(make, REFUSED)
    for n, stage in enumerate(("NEU", "NEW")):  # the first edit is refused, too
        order = ParkedOrder("l-1", offsets=(5,), edit=f'{{"stage": "{stage}", "title": "Lead 1"}}')
        await it.execute(order, 9 + n)
    told = [await it.serde.decode(t, e.value or b"") for t, e in it.committed if t == "bitrix.responses"]
    done = [receipt.bitrix_edits for receipt in told if receipt.bitrix_outcome == CardOutcome.SUCCESS]
    assert done == ['{"stage":[null,"NEW"]}', None, None], "those behind it were carried out as they were asked"
