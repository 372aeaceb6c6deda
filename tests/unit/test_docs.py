"""What the pages say is what the code does. (Settings, errors and examples have tests of their own.)"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.record import contracts, declare_all
from streams.batch import TooLarge
from streams.domains import DOMAINS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PRODUCE = (ROOT / "docs" / "produce.md").read_text("utf-8")


def test_the_topics_and_records_that_can_be_produced_are_all_named() -> None:
    declare_all()
    named = re.findall(r"^\| `([\w.-]+)` \| `([\w.]+)`[^|]*\| `(\w+)` \|$", PRODUCE, re.MULTILINE)
    aggregates = [aggregate.topic for domain in DOMAINS.values() for aggregate in domain.aggregates]
    ours = [
        (t, c.full_name, c.key) for t in aggregates for c in contracts(t) if c.record.__module__.startswith("schemas.")
    ]
    assert sorted(named) == sorted(ours)


def test_the_reasons_of_dead_letters_are_all_explained() -> None:
    code = "".join(file.read_text("utf-8") for house in ("schemas", "streams") for file in (ROOT / house).glob("*.py"))
    raised = set(re.findall(r'UndecodableRecord\(\s*"(\w+)"', code))
    explained = set(re.findall(r"^\| `(\w+)` \|", PRODUCE.partition("| `kounter.reason`")[2], re.MULTILINE))
    assert explained == raised | {TooLarge.code}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#\s]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_variables_that_a_page_names_exist(page: Path) -> None:
    settings = (ROOT / "docs" / "settings.md").read_text("utf-8")
    named = set(re.findall(r"KOUNTER_[A-Z0-9_]+", page.read_text("utf-8")))
    assert [name for name in sorted(named) if f"`{name}`" not in settings] == []
