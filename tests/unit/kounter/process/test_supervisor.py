"""What runs is stopped together, and what others need for their last work after them."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from kounter.embedded.process import together
from kounter.process.supervisor import Services
from kounter.settings import Settings


def test_all_are_stopped_at_once_and_twins_and_kafka_after_them(tmp_path: Path) -> None:
    services, ended = Services(Settings(data_dir=tmp_path), lambda name, address: None), list[str]()

    names = ["twin-bitrix24", "worker-estate-0", "delivery-bitrix24", "watch-bitrix24", "gateway", "feed-brusnika"]
    at_once = threading.Barrier(len(names) - 1)

    def stop(name: str) -> None:
        if name not in ("twin-bitrix24", "kafka"):
            at_once.wait(60)  # raises BrokenBarrierError if they are stopped one after the other
        ended.append(name)

    for name in names:
        services._running[name] = SimpleNamespace(stop=lambda name=name: stop(name))  # type: ignore[assignment]
    services._stack = SimpleNamespace(stop=lambda: stop("kafka"))  # type: ignore[assignment]
    services.__exit__()
    assert not at_once.broken
    assert set(ended[-2:]) == {"twin-bitrix24", "kafka"}
    assert set(ended) == {*names, "kafka"}


def test_one_that_can_not_be_stopped_holds_up_no_other() -> None:
    ended = []

    def fails() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        together([fails, lambda: ended.append(1)])
    assert ended == [1]
    together([])
