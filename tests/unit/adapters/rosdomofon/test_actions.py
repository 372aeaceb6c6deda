"""Commands with any values: the operator actions carry out or refuse; any other error would be taken for an outage."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiokafka.errors import InvalidTimestampError
from hypothesis import given
from hypothesis import strategies as st

from adapters.rosdomofon.actions import OperatorActions
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.kafka.errors import failed
from adapters.rosdomofon.kafka.models import KafkaOutgoingMessage, Place
from adapters.rosdomofon.settings import OperatorSettings, RosDomofonKafkaSettings
from schemas.errors import DeliveryRefused, DeliveryUnavailable
from schemas.record import contract
from schemas.rosdomofon import OperatorAction, OperatorCommand
from tests.support.values import rows

SETTINGS = OperatorSettings(kafka=RosDomofonKafkaSettings(companies=("A",)))
FINE = OperatorCommand("abonent:1", company="A", abonent_ext_id="1", abonent_phone="79990000001", text="Да")


class Said:
    """In the place of the operator's Kafka."""

    def __init__(self) -> None:
        self.messages: list[tuple[KafkaOutgoingMessage, Any]] = []

    async def send(self, message: KafkaOutgoingMessage, **more: Any) -> Place:
        self.messages.append((message, more))
        return Place("t", 0, 0)


def port_of(said: Said) -> OperatorActions:
    return OperatorActions(SETTINGS, cast(RosDomofonKafka, said), None)


@pytest.mark.parametrize("phone", ["9" * 5_000, "²", "٣" * 30, "+7", "", "\0"])
async def test_a_phone_that_is_none_does_not_look_like_an_outage(phone: str) -> None:
    said = Said()
    try:
        await port_of(said).deliver(FINE._replace(abonent_phone=phone), 1, False)
    except DeliveryRefused:
        assert not said.messages
    else:
        assert said.messages[0][0].to_abonents[0].phone == 0


@pytest.mark.parametrize(
    ("place", "behind"),
    [("t/1/7", Place("t", 1, 7)), ("t/x/7", None), ("t/1/" + "9" * 5_000, None), ("t/²/1", None), ("///", None)],
)
async def test_a_last_place_that_is_none_is_not_looked_behind(place: str, behind: Place | None) -> None:
    said = Said()
    await port_of(said).deliver(FINE._replace(last_place=place), 1, False)
    assert said.messages[0][1]["behind"] == behind


@given(rows(contract(OperatorCommand)), st.booleans(), st.sampled_from(["A", None]))
async def test_any_command_is_carried_out_or_refused(
    row: OperatorCommand, uncertain: bool, company: str | None
) -> None:
    row = row._replace(company=company or row.company)
    try:
        await port_of(Said()).deliver(row, 1, uncertain)
    except DeliveryRefused:
        return


async def test_a_status_of_later_versions_is_refused() -> None:
    """Which a reader has as UNKNOWN."""
    row = FINE._replace(action=OperatorAction.SET_SIGN_UP, sign_up_ext_id="1", sign_up_status=cast(Any, "UNKNOWN"))
    with pytest.raises(DeliveryRefused, match="status"):
        await port_of(Said()).deliver(row, 1, False)


@pytest.mark.parametrize(("age_s", "outage"), [(None, False), (86_400.0, False), (-7_200.0, False), (5.0, True)])
def test_a_time_that_a_cluster_refuses_is_an_outage_only_if_it_is_now(age_s: float | None, outage: bool) -> None:
    """By a clock that was wrong, every message was parked as if each were at fault."""
    error = failed("a message", InvalidTimestampError(), write=True, age_s=age_s)
    assert isinstance(error, DeliveryUnavailable if outage else DeliveryRefused)
    assert ("clock" in error.message) is outage
