"""What a sink does, see `streams.ports.Sink`: which commands it takes, what it makes, and whom its receipts reach."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple

import pytest

from schemas.errors import DeliveryDenied, DeliveryRefused, OutcomeUnknown, UndecodableRecord
from schemas.estate import City
from schemas.record import contract, declare_all
from streams.ports import Outcome, Sent, Sink


class Scene(NamedTuple):
    """A sink beside its twin."""

    sink: Sink
    made: Callable[[], list[str]]
    """Returns the keys of what was made, each as often as it is there."""
    fail: Callable[[str], None]
    """Plans one fault of the twin: ``denied`` before, or ``cut_after`` what the next call that writes does."""


class SinkSuite(ABC):
    """Subclasses give a sink beside its twin, and commands that make a thing."""

    @abstractmethod
    def running(self) -> AbstractAsyncContextManager[Scene]:
        """Starts the twin and a sink for it."""

    @abstractmethod
    def command(self, key: str) -> Any:
        """Returns a command to make a thing of its own for each key; its fields have the names of the contracts."""

    @pytest.fixture
    async def scene(self) -> AsyncIterator[Scene]:
        declare_all()
        async with self.running() as scene:
            yield scene

    async def test_what_is_no_command_is_refused(self, scene: Scene) -> None:
        for wrong, reason in (
            (City("c-1", 1), "foreign_record"),
            (self.command("1")._replace(ext_id=""), "missing_key"),
            (self.command("1")._replace(reply_topic="estate.city"), "unknown_reply_topic"),
            (self.command("1")._replace(reply_topic="nowhere"), "unknown_reply_topic"),
        ):
            with pytest.raises(UndecodableRecord) as refused:
                scene.sink.accept(wrong)
            assert refused.value.reason == reason

    async def test_each_key_is_a_subject_of_its_own(self, scene: Scene) -> None:
        first, again, other = (scene.sink.accept(self.command(key)) for key in ("1", "1", "2"))
        assert first.command_id == self.command("1").command_id
        assert first.idempotency_key == again.idempotency_key != other.idempotency_key

    async def test_receipts_go_to_known_topics(self, scene: Scene) -> None:
        command = self.command("1")
        sent = await scene.sink.deliver(command, None, 1, False)
        for outcome in (Outcome(1, sent), Outcome(2, error=DeliveryRefused("not like this"))):
            topics, receipt = scene.sink.receipts(command, outcome)
            assert topics
            assert set(topics) <= set(scene.sink.receipt_topics)
            assert receipt.ext_id
        for topic in contract(type(receipt)).topics:
            reply = command._replace(reply_topic=topic)
            scene.sink.accept(reply)
            assert topic in scene.sink.receipts(reply, Outcome(1, sent))[0]

    async def test_a_refusal_is_in_the_receipt(self, scene: Scene) -> None:
        _, receipt = scene.sink.receipts(self.command("1"), Outcome(2, error=DeliveryRefused("not like this")))
        assert "delivery_refused: not like this" in receipt

    async def test_an_uncertain_create_searches_first(self, scene: Scene) -> None:
        await scene.sink.deliver(self.command("1"), None, 1, False)
        again = await scene.sink.deliver(self.command("1"), None, 2, True)
        assert isinstance(again, Sent)
        assert scene.made() == ["1"]
        await scene.sink.deliver(self.command("2"), None, 1, True)
        assert sorted(scene.made()) == ["1", "2"], "what is not found is made"

    async def test_a_lost_answer_makes_nothing_twice(self, scene: Scene) -> None:
        scene.fail("cut_after")
        with pytest.raises(OutcomeUnknown):
            await scene.sink.deliver(self.command("1"), None, 1, False)
        assert scene.made() == ["1"]
        await scene.sink.deliver(self.command("1"), None, 2, True)
        assert scene.made() == ["1"]

    async def test_a_denied_key_is_that_keys_alone(self, scene: Scene) -> None:
        scene.fail("denied")
        with pytest.raises(DeliveryDenied):
            await scene.sink.deliver(self.command("1"), None, 1, False)
        await scene.sink.deliver(self.command("2"), None, 1, False)
        assert scene.made() == ["2"]
        await scene.sink.deliver(self.command("1"), None, 2, False)
        assert sorted(scene.made()) == ["1", "2"]
