"""Failures of the operator's REST that no other system has; those of all are in the suites."""

from __future__ import annotations

import logging

import pytest
from loguru import logger
from pydantic import SecretStr

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.twin.faults import Fault, OwnWay
from adapters.rosdomofon.twin.server import RosDomofonTwin
from adapters.twin_kit.faults import Way
from schemas.errors import (
    DeliveryDenied,
    DeliveryError,
)
from tests.support.systems.rosdomofon import PHONE, api_of


@pytest.mark.parametrize("way", [Way.BAD_GATEWAY, Way.CUT_AFTER, Way.ERROR_AFTER, OwnWay.NOT_DELIVERED])
async def test_no_phone_is_logged(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="TRACE", diagnose=True, backtrace=True)
    async with RosDomofonTwin() as twin, api_of(twin) as api:
        abonent = twin.operator.add_abonent(int(PHONE))
        twin.faults.plan(Fault(kind=way, calls=("POST /messages",)))
        with pytest.raises(DeliveryError) as failed:
            await api.send_message([abonent], "support", "А")
        logger.opt(exception=failed.value).error("failed: {}", failed.value)
    logger.remove(sink)
    assert PHONE not in "".join(lines) + "".join(r.getMessage() for r in caplog.records)


async def test_wrong_credentials_are_denied() -> None:
    async with RosDomofonTwin() as twin:
        wrong = twin.settings().model_copy(update={"password": SecretStr("wrong")})
        async with RosDomofonAPI(wrong) as api:
            with pytest.raises(DeliveryDenied, match="Bad credentials"):
                await api.get_accounts()
