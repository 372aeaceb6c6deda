"""With which code the processes leave: a supervisor goes by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest
from aiokafka.errors import KafkaConnectionError
from typer.testing import CliRunner

from kounter import logs
from kounter.cli import app
from kounter.commands import deliver, feed, nest, watch
from kounter.settings import load
from schemas.errors import BrokenSetup


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("KOUNTER_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("KOUNTER_REGISTRY__URL", "http://127.0.0.1:2")
    monkeypatch.setenv("KOUNTER_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(logs, "set_up", lambda level: None)  # it would log into this test's output for ever
    load.cache_clear()
    yield
    load.cache_clear()


@pytest.mark.parametrize(("error", "code"), [(KafkaConnectionError("refused"), 69), (BrokenSetup("so", hint="so"), 64)])
@pytest.mark.parametrize("module", [deliver, watch, nest, feed])
def test_codes(module: ModuleType, error: Exception, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    name = module.__name__.rpartition(".")[2]

    async def failing(*_: Any) -> NoReturn:
        raise error

    monkeypatch.setattr(module, f"_{name}", failing)
    assert CliRunner().invoke(app, [name]).exit_code == code
