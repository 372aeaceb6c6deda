"""What Kounter 0.1 left in Kafka and in a data folder goes on working: names of topics, groups and subjects, and files.

``before.json`` and ``before.tar.xz`` were written by the code before the packages were put in order (commit 93cbd0d).
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from kounter.connectors import all_topics, sinks
from kounter.process.slots import slot_dir
from schemas.record import contracts, declare_all
from streams.domains import DOMAINS
from streams.kafka.topics import changelog_of, group_of
from tables.layout import layout
from tables.store import Stores
from tables.view import Change, View

HERE: Final = Path(__file__).parent
BEFORE: Final[dict[str, Any]] = json.loads((HERE / "before.json").read_text("utf-8"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder of before."""
    with tarfile.open(HERE / "before.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(tmp_path)  # noqa: S202 - our own archive
    return tmp_path


def test_no_topic_is_gone_or_renamed() -> None:
    assert set(BEFORE["topics"]) <= {topic.name for topic in all_topics()}


def test_each_domain_has_its_changelog() -> None:
    assert {name: domain.changelog for name, domain in DOMAINS.items() if name in BEFORE["groups"]} == BEFORE["groups"]


def test_each_delivery_has_its_topic_group_and_changelog() -> None:
    now = {name: [topic, group_of(name), changelog_of(group_of(name))] for name, topic in sinks().items()}
    assert BEFORE["channels"].items() <= now.items()


def test_no_subject_is_gone_or_renamed() -> None:
    declare_all()
    assert set(BEFORE["subjects"]) <= {c.subject(topic) for c in contracts() for topic in c.topics}


def test_a_local_state_is_read(folder: Path) -> None:
    stores = Stores(slot_dir(folder, 0) / "estate")
    store = stores[3]
    lead = layout("estate.lead")
    try:
        assert store.offset == 41
        state = lead.as_dict(lead.load(store.get(b"estate.lead\0" + b"4711")), personal=True)
    finally:
        stores.keep([])
    assert {name: value for name, value in state.items() if value is not None} == BEFORE["state"]


def test_a_view_of_another_form_is_rebuilt(folder: Path) -> None:
    """Its tables lack the columns of today: nothing could be written to them."""
    of = layout("estate.lead")
    path = folder / "view" / "view.sqlite"
    with closing(sqlite3.connect(path)) as db:
        before = [row[1] for row in db.execute("PRAGMA table_info(estate_lead)")]
    view = View(path, {"estate.lead": of})
    try:
        view.apply([Change("estate.lead", "4711", of.blank("4711")._replace(version=1))], {("t", 0): 1})
        assert view.get("estate.lead", "4711") is not None
    finally:
        view.close()
    with closing(sqlite3.connect(path)) as db:
        assert [row[1] for row in db.execute("PRAGMA table_info(estate_lead)")] != before != []
