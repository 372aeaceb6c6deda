"""``kounter waiting``: what can be asked, and what is shown."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from kounter.commands.repair import waiting
from schemas.backend import BackendChange
from schemas.errors import InvalidInput
from streams.backend_log.memory import Waiting
from streams.backend_log.parents_first import Held

CHANGE = BackendChange("premise/1", "premise", "1", '{"name":"secret"}', ("building/7",), ("user/2",))
FOUND = [Waiting(Held(3, 1_790_000_000_000, CHANGE), ("building/7",))]


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read() -> list[Waiting]:
        return FOUND

    monkeypatch.setattr(waiting, "_read", read)


def test_what_waits_is_listed_without_its_frame() -> None:
    shown = CliRunner().invoke(waiting.app, []).output
    assert "premise" in shown
    assert "building/7" in shown
    assert "secret" not in shown
    line = CliRunner().invoke(waiting.app, ["--json"]).output
    assert '"missing": ["building/7"]' in line
    assert '"for_ever": true' in line


@pytest.mark.parametrize("options", [[], ["1"], ["--all", "--type", "premise"], ["1", "--all"]])
def test_a_release_names_what_it_releases(options: list[str]) -> None:
    result = CliRunner().invoke(waiting.app, ["release", *options])
    assert isinstance(result.exception, InvalidInput)
    assert "--type, with or without an ext_id, or --all" in str(result.exception)


def test_a_mistyped_type_is_refused() -> None:
    result = CliRunner().invoke(waiting.app, ["release", "--type", "premises"])
    assert isinstance(result.exception, InvalidInput)
    assert "premise, project" in str(result.exception)
