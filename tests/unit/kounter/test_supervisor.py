"""What runs is stopped together, and what others need for their last work after them."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from kounter.embedded.process import together
from kounter.settings import Settings
from kounter.supervisor import Services


def test_all_are_stopped_at_once_and_twins_and_kafka_after_them(tmp_path: Path) -> None:
    services, ended = Services(Settings(data_dir=tmp_path), lambda name, address: None), list[str]()

    def stop(name: str) -> None:
        time.sleep(0.2)
        ended.append(name)

    names = ["twin-bitrix24", "worker-estate-0", "delivery-bitrix24", "watch-bitrix24", "gateway", "feed-brusnika"]
    for name in names:
        services._running[name] = SimpleNamespace(stop=lambda name=name: stop(name))  # type: ignore[assignment]
    services._stack = SimpleNamespace(stop=lambda: stop("kafka"))  # type: ignore[assignment]
    began = time.monotonic()
    services.__exit__()
    assert time.monotonic() - began < 0.9  # one after the other it were 1.4
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
