"""What becomes of what a delivery notes beside an offset that is set."""

from __future__ import annotations

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from kounter.connectors import sinks
from streams.delivery.offset_tracker import OffsetTracker, Tally
from streams.domains import DOMAINS
from streams.group_reset import Move, Resetter
from streams.kafka.settings import KafkaSettings

TP = TopicPartition("bitrix.commands", 3)
RESETTER = Resetter(KafkaSettings(), sinks())


def test_counts_stay_and_what_was_done_beyond_the_old_offset_goes() -> None:
    progress = OffsetTracker(5, tally=Tally(41, 2, 1, 3, 2))
    progress.take(5)
    progress.take(6)
    progress.finish(6)
    committed = {TP: progress.mark()}
    kept = RESETTER._at("delivery-bitrix24", Move(TP, 5, 2), committed)
    again = OffsetTracker.restore(kept.offset, kept.metadata)
    assert (again.low, again.tally, again.done_beyond) == (2, Tally(41, 2, 1, 3, 2), 0)
    assert again.take(2)


def test_of_other_groups_nothing_is_read_and_of_none_nothing_made_up() -> None:
    assert RESETTER._at("estate", Move(TP, 5, 2), {TP: OffsetAndMetadata(5, "theirs")}) == OffsetAndMetadata(2, "")
    assert RESETTER._at("delivery-bitrix24", Move(TP, None, 2), {}) == OffsetAndMetadata(2, "")


def test_a_rebuild_waits_for_the_deliveries_of_what_the_domain_writes() -> None:
    assert RESETTER.deliveries_of(DOMAINS["estate"]) == ["delivery-bitrix24"]
    assert set(RESETTER.deliveries_of(DOMAINS["domofon"])) == {
        "delivery-bitrix24", "delivery-rosdomofon", "delivery-rosdomofon-rest",
    }  # fmt: skip
