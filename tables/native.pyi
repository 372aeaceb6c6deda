from collections.abc import Sequence
from typing import Any

from tables.fold import Evolve
from tables.layout import State

class States:
    def __init__(self, row: Any, size: int, money: tuple[int, ...], made: tuple[tuple[int, type], ...]) -> None: ...
    def load(self, data: bytes) -> State: ...
    def dump(self, state: State) -> bytes: ...

class Merge:
    def __init__(
        self,
        row: Any,
        size: int,
        fields: int,
        number: int,
        unset: int,
        moves: Sequence[tuple[int, int]],
        whole: Evolve,
    ) -> None: ...
    def merge(self, before: State | None, event: Any, at: int) -> State: ...
