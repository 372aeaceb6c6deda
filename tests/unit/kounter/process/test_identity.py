"""A data folder belongs to one Kafka, and who works with another one ends with a word."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.brusnika.connector import same_feed
from adapters.rosdomofon.identity import of_cluster, of_company
from kounter.process import identity
from kounter.process.identity import compare, guarded, note, of_folder
from schemas.errors import BrokenSetup
from streams.kafka.settings import KafkaSettings


def settings(folder: Path) -> Any:
    return SimpleNamespace(data_dir=folder, kafka=KafkaSettings(bootstrap_servers="k:9092"))


def test_a_new_folder_belongs_to_the_first_kafka_and_to_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    compare(settings(folder), "")
    assert not folder.exists(), "a Kafka that does not say who it is, is taken for none"
    compare(settings(folder), "A")
    compare(settings(folder), "A")
    compare(settings(folder), "")
    with pytest.raises(BrokenSetup, match=r"belongs to the cluster A, at k:9092 is B") as error:
        compare(settings(folder), "B")
    assert "kounter adopt kafka" in error.value.hint
    (file,) = folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_of_two_that_note_in_the_same_moment_one_counts(tmp_path: Path) -> None:
    assert [note(tmp_path, "A"), note(tmp_path, "B"), note(tmp_path, "C", anew=True)] == ["A", "A", "C"]
    assert [path.name for path in tmp_path.iterdir()] == [identity.NAME]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_what_cant_be_read_is_not_taken_for_a_new_folder(tmp_path: Path, text: str) -> None:
    (tmp_path / identity.NAME).write_text(text)
    with pytest.raises(BrokenSetup, match="can't be read"):
        of_folder(tmp_path)


async def test_what_is_found_while_it_runs_ends_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def found() -> None:
        await asyncio.sleep(0.01)
        raise BrokenSetup("another Kafka")

    async def nothing(*_: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(identity, "keep_comparing", nothing)
    serde: Any = None
    with pytest.raises(BrokenSetup, match="another Kafka"):
        async with guarded(settings(tmp_path), serde, found()):
            await asyncio.sleep(60)
    async with guarded(settings(tmp_path), serde):
        await asyncio.sleep(0)
    task = asyncio.create_task(_guarded(settings(tmp_path)))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _guarded(it: Any) -> None:
    serde: Any = None
    async with guarded(it, serde):
        await asyncio.sleep(60)


def test_the_operators_kafka_is_known_by_its_cluster() -> None:
    assert of_cluster(None, "A") == of_cluster({"cluster": "A"}, "") == {"cluster": "A"}
    with pytest.raises(BrokenSetup, match="was the cluster A, now it is B"):
        of_cluster({"cluster": "A"}, "B")


@pytest.mark.parametrize(
    ("host", "companies", "is_same"),
    [
        ("a", {"1": "SK_SB"}, True),
        ("a", {}, True),
        ("a", {"1": "SK_SB", "2": "NEW"}, True),
        ("b", {"1": "SK_SB"}, True),  # it has moved
        ("a", {"2": "OTHER"}, False),
        ("b", {"2": "OTHER"}, False),
        ("b", {}, False),
    ],
)
def test_the_operators_rest_is_known_by_the_company(host: str, companies: dict[str, str], is_same: bool) -> None:
    known = {"host": "a", "companies": {"1": "SK_SB"}}
    if is_same:
        assert of_company(known, host, companies)["companies"]
    else:
        with pytest.raises(BrokenSetup, match="another operator"):
            of_company(known, host, companies)


def test_a_feeds_position_is_of_one_server() -> None:
    assert same_feed("a", None) == same_feed("a", {"host": "a"}) == {"host": "a"}
    with pytest.raises(BrokenSetup, match="the position is one of a, KOUNTER_BRUSNIKA__URL names b"):
        same_feed("b", {"host": "a"})
