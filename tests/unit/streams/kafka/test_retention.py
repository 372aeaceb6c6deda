"""Topics that forget, by whatever setting."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from loguru import logger

from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup
from streams.kafka.retention import FOR_EVER, Forgets, check_kept, configs

WEEK = {"cleanup.policy": "delete", "retention.ms": "604800000", "retention.bytes": "-1"}


def test_all_that_forget_are_named_with_how_to_mend_each() -> None:
    with pytest.raises(Forgets) as refused:
        check_kept({"a": WEEK, "b": FOR_EVER, "c": {**FOR_EVER, "retention.bytes": "1000"}}, "refuse")
    error = refused.value
    assert isinstance(error, BrokenSetup)
    assert EXIT_BROKEN_SETUP == 64
    assert error.message == "topics that forget: a has retention.ms=604800000; c has retention.bytes=1000"
    for name in "ac":
        assert f"--entity-name {name} --add-config retention.ms=-1,retention.bytes=-1" in error.hint


def test_by_the_setting_it_is_a_warning() -> None:
    said: list[str] = []
    sink = logger.add(lambda message: said.append(str(message)), level="WARNING")
    check_kept({"a": WEEK}, "warn")
    check_kept({"b": FOR_EVER}, "warn")
    logger.remove(sink)
    (line,) = said
    assert "a has retention.ms=604800000" in line


async def test_a_topic_that_nobody_may_look_at_is_told() -> None:
    class Admin:
        async def describe_configs(self, resources: Any) -> Any:
            row = ("cleanup.policy", "delete", False, False, False, [])
            refused = (29, "not allowed", 2, "a", [])
            return [SimpleNamespace(resources=[refused, (0, None, 2, "b", [row])])]

    said: list[str] = []
    sink = logger.add(lambda message: said.append(str(message)), level="WARNING")
    assert await configs(Admin(), ["a", "b"]) == {"b": {"cleanup.policy": "delete"}}
    assert await configs(Admin(), []) == {}
    logger.remove(sink)
    assert "topic a" in said[0]
