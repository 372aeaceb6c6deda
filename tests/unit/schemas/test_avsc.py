"""The exported schemas go with the code, and what may not follow them is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kounter.commands.schemas import COMMITTED, against_files, app, exported
from schemas.errors import IncompatibleSchema
from schemas.record import contracts, declare_all

declare_all()
OURS = [c for c in contracts() if c.record.__module__.startswith("schemas.")]


def test_the_files_are_those_that_export_writes() -> None:
    assert {p.name for p in COMMITTED.glob("*.avsc")} == {f"{c.full_name}.avsc" for c in OURS}
    for c in OURS:
        path = COMMITTED / f"{c.full_name}.avsc"
        assert path.read_text("utf-8") == exported(c), f"{c.full_name} has changed: kounter schemas export"


def test_check_takes_what_is_committed() -> None:
    result = CliRunner().invoke(app, ["check", "--json"])
    assert (result.exit_code, json.loads(result.output)) == (0, {"compatible": True, "findings": []})


def test_a_lost_field_and_a_lost_record_are_found(tmp_path: Path) -> None:
    schema = json.loads((COMMITTED / "kounter.estate.City.avsc").read_text("utf-8"))
    schema["fields"].append({"name": "mayor", "type": "string"})
    (tmp_path / "kounter.estate.City.avsc").write_text(json.dumps(schema), "utf-8")
    (tmp_path / "kounter.estate.Village.avsc").write_text(json.dumps(schema), "utf-8")
    problems = [(f.schema, f.problem) for f in against_files(tmp_path)]
    assert problems == [
        ("kounter.estate.City", "old readers of new records: mayor: is not written, and has no default"),
        ("kounter.estate.Village", "the record is gone, but its history is not"),
    ]
    result = CliRunner().invoke(app, ["export", str(tmp_path)])
    assert isinstance(result.exception, IncompatibleSchema)
    assert len(list(tmp_path.iterdir())) == 2


def test_export_writes_each_file_once(tmp_path: Path) -> None:
    first, again = (CliRunner().invoke(app, ["export", str(tmp_path / "avro")]) for _ in range(2))
    assert first.output.count(".avsc") == len(contracts())
    assert again.output == ""


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_list_shows_every_record(flags: list[str]) -> None:
    output = CliRunner().invoke(app, ["list", *flags]).output
    assert all(c.full_name in output for c in OURS)
