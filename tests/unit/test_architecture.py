"""What holds for the project as a whole: who may import whom, what we lean on, what must never be committed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from schemas.codec.avro import avro_schema
from schemas.errors import BrokenSetup
from schemas.record import contracts, declare_all
from streams.kafka import private_api

ROOT = Path(__file__).parents[2]
HOUSES = ("schemas", "tables", "streams", "adapters", "kounter")
TEXT = {".py", ".json", ".avsc", ".md", ".toml", ".yml", ".yaml", ".txt", ".html", ".js", ".css", ".typed", ".sh", ""}

FORBIDDEN = {
    "a package registry's host": r"(?:pypi|pythonhosted|npmjs|repo1?\.maven(?:\.apache)?)\.org|docker\.io",
    "a path of somebody's machine": r"(?<![\w.\-/}])/(?:work|root|home|Users|tmp/w|private)/[\w.]",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a webhook with its secret": r"/rest/\d+/(?!twin|secret|\{)[a-z0-9]{12,}/",
    "an address with a password": r"(?:index|registry)-url\s*=?\s*https?://[^/\s]*@",
}


def committed() -> list[Path]:
    """Text files that are under version control; without git (a source archive) those of the packages."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    names = (
        listed.split("\0") if listed else [str(p.relative_to(ROOT)) for h in HOUSES for p in (ROOT / h).rglob("*.*")]
    )
    files = [ROOT / name for name in names if name]
    return [file for file in files if file.suffix in TEXT and file.is_file() and file != Path(__file__)]


@cache
def sources() -> dict[str, str]:
    """The Python of the packages by path, read once for all tests of this file."""
    files = (file for house in HOUSES for file in (ROOT / house).rglob("*.py"))
    return {str(file.relative_to(ROOT)): file.read_text("utf-8") for file in files}


def test_imports_point_one_way() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_house_imports_upwards_even_inside_functions() -> None:
    """The layers of import-linter's first contract, in every file, function and TYPE_CHECKING block."""
    for level, house in enumerate(HOUSES):
        for file, text in sources().items():
            imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
            assert not (file.startswith(f"{house}/") and imported & set(HOUSES[level + 1 :])), file


def test_every_private_name_that_we_lean_on_is_there() -> None:
    private_api.verify()
    assert all(reason for reason in private_api.PRIVATE_NAMES.values())


def test_a_private_name_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(private_api.PRIVATE_NAMES, "faust.streams:_NotThere", "nothing")
    with pytest.raises(BrokenSetup, match=r"faust\.streams:_NotThere is gone") as error:
        private_api.verify()
    assert "pinned versions" in error.value.hint


def test_nothing_else_imports_private_names() -> None:
    private = re.compile(r"^\s*from (?:faust|mode|aiokafka)[\w.]* import .*\b_\w+", re.MULTILINE)
    own = ["streams/lane/faust_transport.py", "streams/kafka/header_names.py"]  # the second has a test
    assert [file for file, text in sources().items() if file not in own and private.search(text)] == []


USED = re.compile(r"\._[a-z]\w*")
OWN = re.compile(
    r"^ *(?:async )?(?:def|class) (_[a-z]\w*)|^ *(?:self|cls|made)\.(_[a-z]\w*)(?:: [^=\n]+)? = ", re.MULTILINE
)


def private_names(known: set[str]) -> dict[str, set[str]]:
    """Attributes that begin with an underscore and that neither we define nor `known` holds, and where they are used.

    A syntax tree is made only of files with a name that the text alone does not show to be our own: of all files it
    takes over a second of CPU.
    """
    defined = {name for text in sources().values() for pair in OWN.findall(text) for name in pair}
    doubtful = {f: {n[1:] for n in USED.findall(text)} - defined - known for f, text in sources().items()}
    wanted = set[str]().union(*doubtful.values())
    if not wanted:
        return {}
    names = re.compile(rf"\b(?:{'|'.join(sorted(wanted))})\b")
    own, used = set[str](), dict[str, set[str]]()
    for file, text in sources().items():
        for node in ast.walk(ast.parse(text)) if names.search(text) else ():
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute) and node.attr in wanted:
                of = node.value.id if isinstance(node.value, ast.Name) else ""
                if isinstance(node.ctx, ast.Store) and of in ("self", "cls", "made"):
                    own.add(node.attr)
                else:
                    used.setdefault(node.attr, set()).add(file)
    return {name: files for name, files in used.items() if name not in own}


def test_every_private_name_that_is_used_stands_with_its_reason() -> None:
    """Of a library's next version, that it is gone is told at start, not by lost data."""
    known = {path.rpartition(".")[2].rpartition(":")[2] for path in private_api.PRIVATE_NAMES}
    pythons = {"_exit", "_field_defaults", "_value_"}
    assert private_names(known | pythons) == {}


def test_a_private_name_that_has_no_reason_is_found() -> None:
    """With none known, those of the list are found: by the texts and syntax trees of the files that name them."""
    assert "_fetch_task" in private_names(set())


def test_every_contract_has_a_schema() -> None:
    """That the committed .avsc equal these is tests/unit/schemas/test_avsc.py's."""
    declare_all()
    ours = [contract for contract in contracts() if contract.record.__module__.startswith("schemas.")]
    assert ours
    for contract in ours:
        assert avro_schema(contract)["doc"], contract.full_name


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_committed_file_holds(what: str) -> None:
    pattern = re.compile(FORBIDDEN[what])
    found = []
    for file in committed():
        for number, line in enumerate(file.read_text("utf-8", "replace").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == [], f"{what} in {found}"
