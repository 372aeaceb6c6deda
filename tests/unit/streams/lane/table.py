"""A processor's surroundings without lane, RocksDB and Kafka: states, and all that was written."""

from __future__ import annotations

from typing import Any

from schemas.codec.serde import Serde
from streams.kafka import dead_letters
from streams.kafka.transactions import ProducerRecord
from streams.lane.processor import BatchProcessor, Folded
from tables.layout import State, layout
from tests.support.local import PARTITIONS, LocalRegistry, Raw, keys_of, local_serde, raw
from tests.support.trial import TRIAL, Deposit, Item

HOME = 3

ONE, TWO = keys_of(HOME, 2)

ITEMS, COMMANDS = "trial.item", "trial.account.commands"


class Table:
    """Local state and everything written so far: what lane, RocksDB and Kafka are to a processor."""

    def __init__(self, serde: Serde, registry: LocalRegistry, max_state: int = 10_000) -> None:
        self.serde, self.registry = serde, registry
        self.processor = BatchProcessor(TRIAL, serde, PARTITIONS, max_state)
        self.states: dict[bytes, bytes] = {}
        self.written: dict[str, list[ProducerRecord]] = {}

    async def fold(self, *batches: tuple[str, list[Raw]]) -> Folded:
        folded = await self.processor.fold(HOME, batches, self.states.get)
        for key, value in folded.states.items():
            if value is None:
                self.states.pop(key, None)
            else:
                self.states[key] = value
        for topic, entries in folded.writes.items():
            assert isinstance(topic, str)
            self.written.setdefault(topic, []).extend(entries)
        return folded

    def state(self, aggregate: str, key: str) -> State | None:
        data = self.states.get(f"{aggregate}\0{key}".encode())
        return None if data is None else layout(aggregate).load(data)

    async def rows(self, topic: str) -> list[Any]:
        return [await self.serde.decode(topic, entry.value or b"") for entry in self.written.get(topic, [])]

    def reasons(self) -> list[str]:
        letters = self.written.get(dead_letters.TOPIC, [])
        return [dict(letter.headers)[dead_letters.REASON].decode() for letter in letters]

    def items(self, *rows: Item, start: int = 0) -> tuple[str, list[Raw]]:
        return ITEMS, [raw(self.serde, ITEMS, row, offset) for offset, row in enumerate(rows, start)]

    def commands(self, *rows: Deposit, start: int = 0) -> tuple[str, list[Raw]]:
        return COMMANDS, [raw(self.serde, COMMANDS, row, offset) for offset, row in enumerate(rows, start)]


async def new_table(max_state: int = 10_000) -> Table:
    return Table(*await local_serde(*TRIAL.sources, *TRIAL.writes, "estate.city"), max_state)
