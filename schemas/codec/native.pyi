from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas.codec.encoding import Field
from schemas.codec.plan import Step

class Decoder:
    def __init__(
        self,
        steps: Sequence[Step],
        defaults: Mapping[int, Any],
        row: type[tuple[Any, ...]],
        size: int,
        reference: Callable[[bytes], tuple[Any, ...]],
        start: int,
    ) -> None: ...
    def decode(self, value: bytes) -> tuple[Any, ...]: ...

class Encoder:
    def __init__(self, fields: Sequence[Field], header: bytes, other: Callable[[tuple[Any, ...]], bytes]) -> None: ...
    def encode(self, row: tuple[Any, ...]) -> bytes: ...
