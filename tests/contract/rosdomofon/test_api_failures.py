"""Failures of RosDomofon's REST: what each means for a read and for a write."""

from __future__ import annotations

import logging
import traceback

import pytest
from loguru import logger
from pydantic import SecretStr

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.rest.messages import NotDelivered
from adapters.rosdomofon.twin.faults import Fault, OwnWay
from adapters.rosdomofon.twin.server import RosDomofonTwin
from adapters.twin_kit.faults import Way
from schemas.errors import (
    DeliveryDenied,
    DeliveryError,
    DeliveryUnavailable,
    OutcomeUnknown,
)
from tests.support.systems.rosdomofon import PHONE, api_of

TIMEOUT_S = 0.3

MEANINGS: dict[Way, tuple[type[DeliveryError] | None, type[DeliveryError] | None]] = {
    # what goes wrong: what it means for a read, and for a write; None: nothing
    OwnWay.TOKEN_EXPIRED: (None, None),
    OwnWay.DENIED: (DeliveryDenied, DeliveryDenied),
    OwnWay.NOT_DELIVERED: (None, NotDelivered),
    Way.TOO_MANY: (DeliveryUnavailable, DeliveryUnavailable),
    Way.UNAVAILABLE: (DeliveryUnavailable, DeliveryUnavailable),
    Way.BAD_GATEWAY: (DeliveryUnavailable, OutcomeUnknown),
    Way.HANG_BEFORE: (DeliveryUnavailable, OutcomeUnknown),
    Way.HANG_AFTER: (DeliveryUnavailable, OutcomeUnknown),
    Way.CUT_AFTER: (DeliveryUnavailable, OutcomeUnknown),
    Way.ERROR_AFTER: (DeliveryUnavailable, OutcomeUnknown),
    Way.NOT_JSON: (DeliveryUnavailable, OutcomeUnknown),
    Way.SLOW: (DeliveryUnavailable, OutcomeUnknown),
    Way.LATE: (DeliveryUnavailable, OutcomeUnknown),
}


def test_every_fault_has_a_meaning() -> None:
    assert MEANINGS.keys() == Fault.kinds


@pytest.mark.parametrize("way", sorted(MEANINGS))
async def test_what_a_failure_means(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="TRACE", diagnose=True, backtrace=True)
    password = "s3cr3t-p4ssword"
    async with RosDomofonTwin(password=password) as twin, api_of(twin, TIMEOUT_S) as api:
        abonent = twin.operator.add_abonent(int(PHONE))
        for call, meaning in (("GET /services/{id}/connections", 0), ("POST /messages", 1)):
            count = 1 if way is OwnWay.TOKEN_EXPIRED else None
            twin.faults.plan(Fault(kind=way, seconds=3, calls=(call,), count=count))
            expected = MEANINGS[way][meaning]
            work = api.get_service_connections(12_345) if meaning == 0 else api.send_message([abonent], "support", "А")
            if expected is None or (way is OwnWay.NOT_DELIVERED and meaning == 0):
                await work  # type: ignore[misc]
                continue
            with pytest.raises(DeliveryError) as failed:
                await work  # type: ignore[misc]
            assert isinstance(failed.value, expected)
            logger.opt(exception=failed.value).error("failed: {}", failed.value)
            shown = "".join(traceback.format_exception(failed.value))
            assert password not in shown
        got = twin.operator.got(abonent)
    logger.remove(sink)
    after = {Way.HANG_AFTER, Way.CUT_AFTER, Way.ERROR_AFTER, Way.NOT_JSON, Way.SLOW, OwnWay.TOKEN_EXPIRED}
    assert got == (["А"] if way in after else [])
    logged = "".join(lines) + "".join(r.getMessage() for r in caplog.records)
    assert password not in logged
    assert PHONE not in logged


async def test_wrong_credentials_are_denied() -> None:
    async with RosDomofonTwin() as twin:
        wrong = twin.settings().model_copy(update={"password": SecretStr("wrong")})
        async with RosDomofonAPI(wrong) as api:
            with pytest.raises(DeliveryDenied, match="Bad credentials"):
                await api.get_accounts()


async def test_nobody_there_is_unavailable() -> None:
    async with RosDomofonTwin() as twin:
        settings = twin.settings()
    async with RosDomofonAPI(settings) as api:
        with pytest.raises(DeliveryUnavailable, match="can't be reached"):
            await api.create_account("A", PHONE)
