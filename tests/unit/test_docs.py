"""What the pages say is what the code does. (Settings, errors and examples have tests of their own.)"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from schemas.record import contracts, declare_all
from streams.domains import DOMAINS
from streams.lane.outgoing import TooLarge

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PRODUCE = (ROOT / "docs" / "produce.md").read_text("utf-8")


def test_the_topics_and_records_that_can_be_produced_are_all_named() -> None:
    declare_all()
    named = re.findall(r"^\| `([\w.-]+)` \| `([\w.]+)`[^|]*\| `(\w+)` \|$", PRODUCE, re.MULTILINE)
    aggregates = [aggregate.topic for domain in DOMAINS.values() for aggregate in domain.aggregates]
    ours = [
        (t, c.full_name, c.key) for t in aggregates for c in contracts(t) if c.record.__module__.startswith("schemas.")
    ]
    assert sorted(named) == sorted(ours)


def test_the_fields_of_the_developers_types_are_all_named() -> None:
    declare_all()
    page = (ROOT / "docs" / "contracts" / "brusnika.md").read_text("utf-8")
    described = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page.partition("## Types")[2], re.MULTILINE))
    ours = {c.outside: c for c in contracts() if c.outside and c.record.__module__.startswith("schemas.")}
    assert set(described) == set(ours)
    for outside, of in ours.items():
        named = described[outside].split(", ")
        for field in (name for name in of.said if name != of.counter):
            names = " or ".join(of.accepted_names[field])
            assert (names if names == field else f"{names} → {field}") in named


def test_the_reasons_of_dead_letters_are_all_explained() -> None:
    files = [file for house in ("schemas", "streams") for file in (ROOT / house).rglob("*.py")]
    code = "".join(file.read_text("utf-8") for file in (*files, *(ROOT / "adapters").glob("*/sink.py")))
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


def test_no_file_cites_what_a_reader_can_not_open() -> None:
    """Rules are cited by page and heading of ``docs/contracts``; see its README."""
    closed = re.compile(r"contracts" + r" §|\bshared" + "/|seed" + r" `")
    found = [f"{path}:{n}" for path, n, line in _lines() if closed.search(line)]
    assert found == []


def test_the_pages_and_headings_that_files_cite_exist() -> None:
    cited = [
        (f"{path}:{n}", page, anchor)
        for path, n, line in _lines()
        for page, anchor in re.findall(r"\b(docs/[\w/-]+\.md)(?:#([\w-]+))?", line)
    ]
    assert any(page.startswith("docs/contracts/") for _, page, _ in cited)
    assert [one for one in cited if not (ROOT / one[1]).is_file() or one[2] not in _anchors(ROOT / one[1])] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_headings_lead_to_one(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#\s]*)#([\w-]+)\)", page.read_text("utf-8"))
    assert [t for t in targets if t[1] not in _anchors(page.parent / t[0] if t[0] else page)] == []


PROSE = sorted({*PAGES} - {ROOT / "docs" / "settings.md", ROOT / "docs" / "errors.md"})
"""Pages whose language is checked. The two generated ones follow from docstrings: add them once all are rewritten."""
REWRITTEN = (
    *("schemas/**/*.py", "tables/**/*.py", "bench/**/*.py", "streams/**/*.py", "adapters/**/*.py", "kounter/**/*.py"),
)
"""Globs of code whose docstrings and comments are checked; pyproject.toml lists the rest for ruff."""
CODE = sorted({file for glob in REWRITTEN for file in ROOT.glob(glob)})
STORED = {
    json.loads(file.read_text("utf-8")).get("doc") for file in (ROOT / "schemas" / "avro").glob("*.avsc")
}  # stands in the registry: another text would be another version of the schema
BANNED = {
    r"\banew\b": "again",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bleaves? with\b": "exits with",
    r"\bleft with\b": "exited with",
    r"\bwhoever\b": "who, or the noun",
    r"\bhears?\b|\bheard\b": "things do not hear: receive, read",
    r"\b(is|are|be|was) told\b": "things are not told: get, log, report",
    r"\btime-outs?\b": "timeout",
    r"\bonce more\b": "again",
    r"\bthe outside\b(?! system)": "outside systems, or the system's name",
    r"\bof ours\b": "our",
    r"\bnobody\b": "no, none",
    r"(?:^|[.:;] )(?:[-*|] )?(?-i:Of) (?:a|an|all|each|the|which|what|whom)\b": "a subject and a verb",
    r"(?:^|[.:;] )(?-i:Likewise)\b": "a sentence of its own",
}


@pytest.mark.parametrize("page", PROSE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_language_is_plain(page: Path) -> None:
    """House style: a subject and a verb, terms of the field."""
    text = re.sub(r"^    .*$|`[^`\n]*`", "", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S), flags=re.M)
    assert _banned(text, BANNED) == set()


@pytest.mark.parametrize("file", CODE, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_language_of_code_is_plain(file: Path) -> None:
    """A docstring begins with the word for what it describes."""
    opening = {r"\A(?-i:Of|What|Whoever|Whose|Likewise|Where|When|How|As)\b": "a noun, or a verb such as Returns"}
    found = {f"{n}: {bad}" for n, text in _prose(file) for bad in _banned(text, {**BANNED, **opening})}
    assert found == set()


def _banned(text: str, rules: dict[str, str]) -> set[str]:
    return {
        f"{match[0]!r}: write {better}"
        for banned, better in rules.items()
        for match in re.finditer(banned, text, re.IGNORECASE | re.MULTILINE)
    }


def _prose(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring and comment of a module, without code in backquotes."""
    source = file.read_text("utf-8")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], re.sub(r"`+[^`]*`+", "", token.string)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            text = " ".join(node.value.value.split())
            if text not in STORED:
                yield node.lineno, re.sub(r"`+[^`]*`+", "", text)


def _lines() -> Iterator[tuple[str, int, str]]:
    """Path, number and text of each line of each text file of the repository."""
    kinds = {".py", ".pyx", ".md", ".toml", ".yml", ".yaml", ".avsc"}
    hidden = {".git", ".venv", "build", "locks"}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in hidden and not f.startswith(".") and f != "__pycache__"]
        for file in files:
            path = Path(folder, file)
            if path.suffix in kinds or file in ("Makefile", "Dockerfile"):
                for n, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                    yield str(path.relative_to(ROOT)), n, line


@cache
def _anchors(page: Path) -> set[str]:
    """Names of a page's headings as GitHub makes them, and the page itself."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {"", *(re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings)}
