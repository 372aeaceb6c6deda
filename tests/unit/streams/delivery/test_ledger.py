"""What is known of what was made: nothing, an intent, an id; as the changelog and its local copy have it."""

from __future__ import annotations

from pathlib import Path

from streams.delivery.ledger import Ledger
from streams.delivery.state import Memory
from tables.store import PartitionStore


def test_an_intent_then_its_id_and_both_survive_a_restart(tmp_path: Path) -> None:
    store = PartitionStore(tmp_path)
    memory = Memory("delivery-x-changelog", store)
    ledger = Ledger(memory)
    assert ledger.get("estate.lead:l-1") is None

    topic, intent = ledger.entry("estate.lead:l-1", "c-1", 5)
    assert topic == "delivery-x-changelog"
    assert ledger.get("estate.lead:l-1") is None, "what is not committed is not known"
    memory.apply([intent], 11)
    made = ledger.get("estate.lead:l-1")
    assert made is not None
    assert (made.command_id, made.offset, made.id) == ("c-1", 5, None)

    memory.apply([ledger.entry("estate.lead:l-1", "c-1", 5, 77)[1]], 13)
    store.close()
    memory = Memory("delivery-x-changelog", PartitionStore(tmp_path))
    made = Ledger(memory).get("estate.lead:l-1")
    assert made is not None
    assert (made.id, memory.offset) == (77, 13)
    assert Ledger(memory).get("estate.lead:l-11") is None
