"""``kounter up --only``: Kafka and registry without what works on them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kounter.cli import app
from kounter.commands import up
from kounter.settings import load
from schemas.errors import InvalidInput


class Services:
    """Starts nothing."""

    def __init__(self, settings: Any, say: Any) -> None:
        self.settings = settings

    def __enter__(self) -> Services:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    rest: list[bool] = []
    monkeypatch.setenv("KOUNTER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(up, "Services", Services)
    monkeypatch.setattr(up, "_start_rest", lambda services, twins, workers: rest.append(twins))
    monkeypatch.setattr(up, "_watch", lambda services, ended: None)
    monkeypatch.setattr(signal, "signal", lambda signum, handler: None)
    load.cache_clear()
    yield rest
    load.cache_clear()


@pytest.mark.parametrize(("options", "rest"), [((), [False]), (("--only", "kafka,registry"), [])])
def test_only_kafka_and_registry(started: list[bool], options: tuple[str, ...], rest: list[bool]) -> None:
    assert CliRunner().invoke(app, ["up", *options]).exit_code == 0
    assert started == rest


@pytest.mark.parametrize("only", ["kafka", "workers", "", "kafka,registry,gateway"])
def test_nothing_else_can_be_alone(started: list[bool], only: str) -> None:
    result = CliRunner().invoke(app, ["up", "--only", only])
    assert isinstance(result.exception, InvalidInput)
    assert started == []
