"""The developer of the twin: three complexes with their buildings and flats; `tick` changes some of them, seeded."""

from __future__ import annotations

import random
from typing import Final, NamedTuple

CITY: Final = "Тюмень"
COMPLEXES: Final = ("Дом у реки", "Новый квартал", "Озёрный парк")
HOUSES: Final = 3
"""Buildings of each complex, with the numbers 1 to 3 in each."""
SECTIONS: Final = 2
FLOORS: Final = 9
CHANGED: Final = 0.02
"""Part of the flats whose price changes with a tick; as many are sold, and some of the sold ones return."""


class Flat(NamedTuple):
    """A flat for sale."""

    id: str
    complex: int
    house: int
    section: int
    number: str
    floor: int
    rooms: int
    """0 for a studio."""
    size: float
    price: int
    year: int
    quarter: int


class Developer:
    """``flats`` are those for sale, ``version`` rises with each tick."""

    def __init__(self, seed: int = 1, flats: int = 300) -> None:
        self._seed, self._count = seed, flats
        self.begin()

    def begin(self) -> None:
        """Set everything as it is at the first start."""
        self._dice = random.Random(self._seed)
        self._all = {flat.id: flat for flat in map(self._flat, range(self._count))}
        self._sold: set[str] = set()
        self.version = 1

    @property
    def flats(self) -> list[Flat]:
        """Returns the flats for sale, in the order of their ids."""
        return [flat for key, flat in self._all.items() if key not in self._sold]

    def tick(self) -> None:
        """Change some prices, sell some flats, and take some back."""
        dice, some = self._dice, max(1, int(self._count * CHANGED))
        self.version += 1
        for key in dice.sample(sorted(self._all), some):
            flat = self._all[key]
            self._all[key] = flat._replace(price=flat.price + dice.choice((-50_000, 100_000)))
        for key in dice.sample(sorted(self._sold), min(len(self._sold), some // 2)):
            self._sold.discard(key)
        self._sold |= set(dice.sample(sorted(set(self._all) - self._sold), some))

    def _flat(self, n: int) -> Flat:
        dice = self._dice
        rooms, size = dice.randrange(5), round(dice.uniform(22, 110), 1)
        return Flat(
            id=f"lot-{n:05d}",
            complex=n % len(COMPLEXES) + 1,
            house=n // len(COMPLEXES) % HOUSES + 1,
            section=dice.randint(1, SECTIONS),
            number=f"{n + 1}А" if n % 50 == 0 else str(n + 1),
            floor=dice.randint(1, FLOORS),
            rooms=rooms,
            size=size,
            price=int(size * 130_000) // 1000 * 1000,
            year=2027,
            quarter=dice.randint(1, 4),
        )
