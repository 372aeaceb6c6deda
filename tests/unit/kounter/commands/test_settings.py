"""docs/settings.md is what the code says, and no secret is ever shown."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, SecretStr
from typer.testing import CliRunner

from kounter import settings as tree
from kounter.cli import app
from kounter.commands import settings as command
from schemas.errors import BrokenSetup

PAGE = Path(__file__).parents[4] / "docs" / "settings.md"


class Part(BaseModel):
    """A part."""

    url: str = "http://user:secret-1@host/path"
    mode: Literal["fast", "safe"] = "safe"
    """Which way."""
    token: SecretStr | None = None
    hosts: tuple[str, ...] = ("a", "b")
    on: bool = True


class Tree(BaseModel):
    part: Part = Part()
    password: SecretStr = SecretStr("")


def test_the_page_is_up_to_date() -> None:
    """If not: ``kounter settings --markdown > docs/settings.md``."""
    assert PAGE.read_text("utf-8") == command.page()


def test_every_part_of_the_tree_is_on_the_page() -> None:
    page = command.page()
    for name, field in tree.Settings.model_fields.items():
        nested = isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        assert (f"\n## {name}\n" if nested else f"| `KOUNTER_{name.upper()}` |") in page


def test_a_variable_its_default_value_and_text() -> None:
    found = {s.variable: s for s in command.walk(Tree, Tree(part=Part(mode="fast")))}
    assert found["KOUNTER_PART__MODE"] == ("KOUNTER_PART__MODE", "safe", "fast", "Which way. One of `fast`, `safe`.")
    assert found["KOUNTER_PART__HOSTS"].value == '["a", "b"]'
    assert found["KOUNTER_PART__ON"].value == "true"
    assert next(iter(found)) == "KOUNTER_PASSWORD"


def test_secrets_are_masked() -> None:
    set_now = Tree(password=SecretStr("secret-2"), part=Part(token=SecretStr("secret-3")))
    shown = list(command.walk(Tree, set_now))
    assert "secret-" not in str(shown)
    values = {s.variable: s.value for s in shown}
    assert values["KOUNTER_PASSWORD"] == values["KOUNTER_PART__TOKEN"] == "****"
    assert values["KOUNTER_PART__URL"] == "http://****@host/path"
    assert command.show("http://user:secret@4@host/a@b") == "http://****@host/a@b"
    assert "Secret." in next(s.text for s in shown if s.variable == "KOUNTER_PART__TOKEN")
    assert {s.value for s in command.walk(Tree, Tree()) if s.variable == "KOUNTER_PASSWORD"} == {""}


def test_the_command_shows_what_is_set_and_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # no .env of the developer
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.setenv("KOUNTER_KAFKA__PASSWORD", "secret-4")
    monkeypatch.setenv("KOUNTER_LANE__GATHER_MS", "17")
    monkeypatch.setattr(command, "load", tree.Settings)
    command.settings()
    shown = capsys.readouterr().out
    assert "secret-4" not in shown
    assert "17.0" in shown
    assert "KOUNTER_KAFKA__PASSWORD" in shown


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("KOUNTER_KAFKA__PARTITIONS", "secret-5", "KOUNTER_KAFKA__PARTITIONS: Input should be a valid integer"),
        ("KOUNTER_LANE__GUARANTEE", "secret-6", "KOUNTER_LANE__GUARANTEE: Input should be 'exactly_once'"),
        ("KOUNTER_LOG_LEVEL", "verbose", "KOUNTER_LOG_LEVEL: Input should be 'TRACE', 'DEBUG'"),
        ("KOUNTER_WORKERS", "0", "KOUNTER_WORKERS: Input should be greater than or equal to 1"),
        ("KOUNTER_KAFKA", "secret-7", "KOUNTER_KAFKA: "),
    ],
)
def test_a_wrong_value_is_told_by_its_variable_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, value)
    with pytest.raises(BrokenSetup) as error:
        tree.load.__wrapped__()
    assert said in error.value.message
    assert "secret-" not in error.value.message
    assert "kounter settings" in error.value.hint


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("LOG_LEVEL", "info", "INFO"),
        ("LOG_LEVEL", "WARN", "WARNING"),
        ("LOG_LEVEL", " Warning ", "WARNING"),
        ("LOG_LEVEL", "fatal", "CRITICAL"),
        ("KAFKA__SECURITY_PROTOCOL", "sasl_ssl", "SASL_SSL"),
        ("KAFKA__SASL_MECHANISM", "scram_sha_256", "SCRAM-SHA-256"),
        ("LANE__GUARANTEE", "At-Least-Once", "at_least_once"),
        ("BITRIX24__API", "Item", "item"),
        ("DOMOFON__REPLIES_BY", "REST", "rest"),
    ],
)
def test_a_word_of_a_list_is_taken_in_any_case(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(f"KOUNTER_{variable}", value)
    shown = {s.variable: s.value for s in command.walk(tree.Settings, tree.Settings())}
    assert shown[f"KOUNTER_{variable}"] == expected


def test_a_stage_is_set_by_a_variable_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of variables have no case, the words had: it was refused."""
    monkeypatch.setenv("KOUNTER_DOMOFON__STAGES__PROCESSED", "WORK")
    assert tree.Settings().domofon.stages["PROCESSED"] == "WORK"  # type: ignore[index]


def test_a_list_is_shown_as_one_would_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = [s for s in command.walk(tree.Settings) if s.variable == "KOUNTER_GATEWAY__LISTEN"]
    monkeypatch.setenv(shown.variable, shown.default)
    assert tree.Settings().gateway == tree.Settings.model_fields["gateway"].default


def test_half_a_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the embedded registry another Kafka's bytes would be read by wrong schemas; it was left without a word."""
    for name in ("KOUNTER_KAFKA__BOOTSTRAP_SERVERS", "KOUNTER_REGISTRY__URL"):
        with monkeypatch.context() as only:
            only.delenv("KOUNTER_KAFKA__BOOTSTRAP_SERVERS", raising=False)
            only.delenv("KOUNTER_REGISTRY__URL", raising=False)
            only.setenv(name, "http://127.0.0.1:1" if "URL" in name else "127.0.0.1:1")
            with pytest.raises(BrokenSetup, match=f"{name} is set and KOUNTER_.* is not"):
                tree.load.__wrapped__()


def test_a_list_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOUNTER_GATEWAY__LISTEN", "127.0.0.1:7070")
    with pytest.raises(BrokenSetup, match="KOUNTER_GATEWAY__LISTEN: lists and tables are written as JSON"):
        tree.load.__wrapped__()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("KOUNTER_KAFKA__BOOTSTRAPSERVERS", ["…sets nothing; KOUNTER_KAFKA__BOOTSTRAP_SERVERS?"]),
        ("KOUNTER_GATEWY__TOKEN", ["…sets nothing; KOUNTER_GATEWAY__TOKEN?"]),
        ("KOUNTER_XYZZY", ["…sets nothing"]),
        ("kounter_workers", []),
        ("KOUNTER_GATEWAY", []),
        ("KOUNTER_DOMOFON__ACKNOWLEDGEMENTS__SK_SB", []),
        ("KOUNTER_TEST_KAFKA", []),
        ("KOUNTER_GATEWAY_SERVICE_HOST", []),
        ("KOUNTER_PORT_7070_TCP_ADDR", []),
        ("PATH", []),
    ],
)
def test_a_misspelt_variable_is_told_of(name: str, said: list[str]) -> None:
    assert command.unknown([name]) == [text.replace("…", f"{name} ") for text in said]


def test_status_shows_no_password_of_an_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KOUNTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KOUNTER_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("KOUNTER_REGISTRY__URL", "http://user:secret-5@127.0.0.1:1/path")
    tree.load.cache_clear()
    try:
        for options in ([], ["--json"]):
            said = CliRunner().invoke(app, ["status", *options]).output
            assert "127.0.0.1:1/path" in said
            assert "secret-5" not in said
    finally:
        tree.load.cache_clear()


def test_a_dotenv_of_another_encoding_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("KOUNTER_WORKRES=2\n", "utf-8")
    assert command.unknown(command.of_dotenv()) == ["KOUNTER_WORKRES sets nothing; KOUNTER_WORKERS?"]
    (tmp_path / ".env").write_text("KOUNTER_WORKERS=2\n", "utf-16")
    assert command.of_dotenv() == []
    with pytest.raises(BrokenSetup, match="not UTF-8"):
        tree.load.__wrapped__()
