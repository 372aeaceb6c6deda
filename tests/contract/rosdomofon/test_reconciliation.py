"""The comparison of the operator's REST, a twin's, with what was sent before; our cluster's part plays a stub."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.reconciliation import TOLERANCE_S, Compared, Comparison
from adapters.rosdomofon.reconciliation_state import Known
from adapters.rosdomofon.twin.server import RosDomofonTwin
from schemas.domofon import Abonent, Account, Connection, Direction, Flat, Message, Service
from schemas.errors import InvalidInput
from tests.support.systems.rosdomofon import PHONE, a_home

HOUR = 3_600.0


class Ours:
    """Our cluster: what was sent."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.refused: type | None = None

    async def send_nowait(self, row: Any) -> asyncio.Future[None]:
        if self.refused is not None and isinstance(row, self.refused):
            raise InvalidInput("balance", "an amount of at most 19 digits", 1e30)
        self.rows.append(row)
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    def taken(self) -> list[Any]:
        rows, self.rows = self.rows, []
        return rows


class Play:
    """The twin's clock is set to when something is said."""

    def __init__(self, folder: Path) -> None:
        self.now = time.time() + 3 * HOUR  # long after the memory began
        self.most = 10
        self.on_kafka: list[Message] = []
        self.at = self.now
        self.twin = RosDomofonTwin(clock=lambda: self.at)
        self.ours, self.path = Ours(), folder / "known.sqlite"
        self.known = Known(self.path)

    def comparison(self, api: RosDomofonAPI) -> Comparison:
        ours: Any = self.ours
        return Comparison(api, ours, self.known, self.heard, abonents=self.most, days=0.05, clock=lambda: self.now)

    async def heard(self, since: float, abonents: Collection[str]) -> list[Message]:
        return [m for m in self.on_kafka if m.abonent_ext_id in abonents and (m.said_at or 0) >= since * 1e6]

    def says(self, ago: float, abonent: int, text: str, *, came: float | None, incoming: bool = True) -> int:
        """Into the history ``ago`` seconds before now; ``came``: over Kafka, so much later."""
        self.at = self.now - ago
        id = self.twin.operator.keep_message(abonent, int(PHONE), "support", incoming, text, "app")
        if came is not None:
            at = int((self.at + came) * 1e6)
            self.known.came([Message(f"{abonent}/IN/0/{id}", abonent_ext_id=str(abonent), text=text, said_at=at)])
        return id


@pytest.fixture
async def play(tmp_path: Path) -> AsyncIterator[tuple[Play, RosDomofonAPI]]:
    play = Play(tmp_path)
    async with play.twin, RosDomofonAPI(play.twin.settings()) as api:
        yield play, api
    play.known.close()


async def test_only_what_is_new_or_other_becomes_a_record(play: tuple[Play, RosDomofonAPI]) -> None:
    stage, api = play
    home = await a_home(api)
    comparison = stage.comparison(api)
    first = await comparison.compare()
    rows = stage.ours.taken()
    assert [type(row) for row in rows] == [Service, Service, Service, Account, Abonent, Flat, Connection]
    assert first == Compared(7, 7, 0)
    account, abonent = rows[3], rows[4]
    assert (account.number, account.blocked) == ("ACC123456", False)
    assert abonent == Abonent(str(home.abonent_id), PHONE, True, "SK_SB")
    assert rows[6].account_ext_id == str(home.account_id)
    assert await comparison.compare() == Compared(7, 0, 0)
    await api.block_account("ACC123456")
    await comparison.compare()
    (changed,) = stage.ours.taken()
    assert (changed.ext_id, changed.blocked) == (account.ext_id, True)


async def test_what_no_record_can_hold_is_passed_over_and_holds_up_nothing(play: tuple[Play, RosDomofonAPI]) -> None:
    stage, api = play
    await a_home(api)
    stage.ours.refused = Account
    comparison = stage.comparison(api)
    assert await comparison.compare() == Compared(7, 6, 0)
    stage.ours.refused = None
    assert (await comparison.compare()).sent == 1, "it was not taken for sent"


async def test_it_is_remembered_over_a_restart(play: tuple[Play, RosDomofonAPI]) -> None:
    stage, api = play
    await stage.comparison(api).compare()
    begun = stage.known.begun
    stage.known.close()
    stage.known = Known(stage.path)
    assert stage.known.begun == begun
    assert (await stage.comparison(api).compare()).sent == 0


def test_a_broken_file_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "known.sqlite"
    path.write_bytes(b"after a power loss" * 300)
    known = Known(path)
    known.met(["7"])
    known.close()
    known = Known(path)
    assert known.due(9) == [("7", 0.0)]
    known.close()


def test_moments_of_a_clock_that_was_set_back_are_forgotten(tmp_path: Path) -> None:
    """Until they were over no history was looked at, in silence."""
    known, ahead = Known(tmp_path / "known.sqlite"), time.time() + 5_000
    known.met(["7", "8"])
    known.looked(["7"], ahead)
    known.looked(["8"], ahead - 6_000)
    known._db.execute("UPDATE begun SET at = ?", (ahead,))
    known.close()
    known = Known(tmp_path / "known.sqlite")
    assert known.begun <= time.time()
    assert known.due(9) == [("7", 0.0), ("8", ahead - 6_000)]
    known.close()


async def test_one_that_came_is_no_news_though_the_pages_moved_while_they_were_walked(
    play: tuple[Play, RosDomofonAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, api = play
    abonent = stage.twin.operator.add_abonent(int(PHONE))
    stage.says(HOUR, abonent, "Привет", came=1.0)
    walk = api.iter_abonent_messages

    async def moved(abonent_id: int, **more: Any) -> AsyncIterator[Any]:
        async for said in walk(abonent_id, **more):
            yield said
            yield said  # the last of one page, and the first of the next

    monkeypatch.setattr(api, "iter_abonent_messages", moved)
    assert (await stage.comparison(api).compare()).messages == 0


async def test_a_message_that_never_came_becomes_a_record_once(play: tuple[Play, RosDomofonAPI]) -> None:
    stage, api = play
    abonent = stage.twin.operator.add_abonent(int(PHONE))
    stage.known.met([str(abonent)])
    stage.says(0.06 * 86_400, abonent, "Давно", came=None)
    stage.says(3_000, abonent, "Да", came=2.0)
    missed = stage.says(2_900, abonent, "Не открывается", came=None)
    stage.says(2_800, abonent, "Приняли", came=None, incoming=False)  # what we said is no news
    stage.says(2_000, abonent, "Да", came=-3.0)  # clocks differ
    again = stage.says(1_200, abonent, "Да", came=None)  # the same words, of which two came
    stage.says(TOLERANCE_S / 2, abonent, "Ау", came=None)  # may still come
    found = await stage.comparison(api).compare()
    rows = [row for row in stage.ours.taken() if isinstance(row, Message)]
    assert [row.ext_id for row in rows] == [f"{abonent}/history/{id}" for id in (missed, again)]
    assert {row.direction for row in rows} == {Direction.IN}
    assert found.messages == 2
    await stage.comparison(api).compare()
    assert stage.ours.taken() == []


async def test_what_was_before_the_memory_began_is_no_difference(play: tuple[Play, RosDomofonAPI]) -> None:
    stage, api = play
    abonent = stage.twin.operator.add_abonent(int(PHONE))
    stage.now = stage.known.begun + TOLERANCE_S + 700
    stage.says(1_000, abonent, "До того", came=None)
    stage.says(650, abonent, "После", came=None)
    stage.says(640, abonent, "Слышно", came=0.0)
    await stage.comparison(api).compare()
    assert [row.text for row in stage.ours.taken() if isinstance(row, Message)] == ["После"]


async def test_what_stands_on_kafka_is_late_and_not_missing(play: tuple[Play, RosDomofonAPI]) -> None:
    stage, api = play
    abonent = stage.twin.operator.add_abonent(int(PHONE))
    stage.known.met([str(abonent)])
    stage.says(2_000, abonent, "В пути", came=None)
    at = int((stage.now - 2_000) * 1e6)
    stage.on_kafka = [Message(f"{abonent}/IN/0/1", abonent_ext_id=str(abonent), text="В пути", said_at=at)]
    stage.says(1_900, abonent, "Потеряно", came=None)
    await stage.comparison(api).compare()
    assert [row.text for row in stage.ours.taken() if isinstance(row, Message)] == ["Потеряно"]


async def test_histories_are_looked_through_in_turn(play: tuple[Play, RosDomofonAPI]) -> None:
    stage, api = play
    abonents = [stage.twin.operator.add_abonent(79_990_000_100 + n) for n in range(4)]
    stage.known.met(map(str, abonents))
    for abonent in abonents:
        stage.says(2_000, abonent, str(abonent), came=None)
    stage.says(1_900, abonents[3], "Да", came=0.0)  # who wrote comes first
    stage.most = 2
    found = []
    for _ in range(3):
        await stage.comparison(api).compare()
        found.append([int(row.text) for row in stage.ours.taken() if isinstance(row, Message)])
        stage.now += 1
    assert found == [[abonents[3], abonents[0]], abonents[1:3], []]
