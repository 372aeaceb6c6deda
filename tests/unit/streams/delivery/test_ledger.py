"""What is known of what was made: nothing, an intent, an id; as the changelog and its local copy have it."""

from __future__ import annotations

from pathlib import Path

from streams.delivery.ledger import Ledger
from streams.delivery.state import DeliveryState
from tables.store import PartitionStore


def test_an_intent_then_its_id_and_both_survive_a_restart(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path)
    state = DeliveryState("delivery-x-changelog", store)
    ledger = Ledger(state)
    assert ledger.get("estate.lead:l-1") is None

    topic, intent = ledger.entry("estate.lead:l-1", "c-1", 5)
    assert topic == "delivery-x-changelog"
    assert ledger.get("estate.lead:l-1") is None, "what is not committed is not known"
    state.apply([intent], 11)
    made = ledger.get("estate.lead:l-1")
    assert made is not None
    assert (made.command_id, made.offset, made.id) == ("c-1", 5, None)

    state.apply([ledger.entry("estate.lead:l-1", "c-1", 5, 77)[1]], 13)
    store.close()
    state = DeliveryState("delivery-x-changelog", PartitionStore(tmp_path))
    made = Ledger(state).get("estate.lead:l-1")
    assert made is not None
    assert (made.id, state.offset) == (77, 13)
    assert Ledger(state).get("estate.lead:l-11") is None
