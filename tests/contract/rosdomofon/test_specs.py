"""Models and twin beside the collected samples of RosDomofon."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from adapters.rosdomofon.kafka.models import KafkaIncomingMessage, KafkaOutgoingMessage, SignUp
from adapters.rosdomofon.rest.client import V1
from adapters.rosdomofon.rest.models import (
    Account,
    AuthResponse,
    Connection,
    CreateAccountRequest,
    CreateAccountResponse,
    CreateConnectionRequest,
    CreateConnectionResponse,
    CreateFlatRequest,
    CreateFlatResponse,
    Entrance,
    Flat,
    MessagesResponse,
    SendMessageRequest,
    SendResult,
    Service,
    SignUpChange,
)
from adapters.rosdomofon.rest.pages import Page
from adapters.rosdomofon.twin.server import RosDomofonTwin
from adapters.rosdomofon.wire import Wire
from tests.support.systems.rosdomofon import PHONE, SPECS, a_home, api_of, needs_specs, sample

MODELS: dict[str, Any] = {
    "kafka/MESSAGES_IN.all-optional-fields": KafkaIncomingMessage,
    "kafka/MESSAGES_IN.empty-text": KafkaIncomingMessage,
    "kafka/MESSAGES_IN.localizedPush": KafkaIncomingMessage,
    "kafka/MESSAGES_IN.message-field": KafkaIncomingMessage,
    "kafka/MESSAGES_OUT.multiple": KafkaOutgoingMessage,
    "kafka/MESSAGES_OUT.single": KafkaOutgoingMessage,
    "kafka/SIGN_UPS.no-flat": SignUp,
    "kafka/SIGN_UPS.old-short-form": SignUp,
    "kafka/SIGN_UPS.universalCode": SignUp,
    "kafka/SIGN_UPS.with-flat": SignUp,
    "rest/abonents.messages.page.response": MessagesResponse,
    "rest/accounts.create.request": CreateAccountRequest,
    "rest/accounts.create.response": CreateAccountResponse,
    "rest/accounts.flats.response": list[Flat],
    "rest/accounts.get.response": Account,
    "rest/accounts.list.response": list[Account],
    "rest/connections.create.request": CreateConnectionRequest,
    "rest/connections.create.response": CreateConnectionResponse,
    "rest/connections.list.response": list[Connection],
    "rest/entrances.empty.response": Page[Entrance],
    "rest/entrances.last.response": Page[Entrance],
    "rest/entrances.page0.response": Page[Entrance],
    "rest/flats.create.request": CreateFlatRequest,
    "rest/flats.create.response": CreateFlatResponse,
    "rest/messages.send.request": SendMessageRequest,
    "rest/messages.send.response.ok": list[SendResult],
    "rest/messages.send.response.partial-failure": list[SendResult],
    "rest/oauth_token.response": AuthResponse,
    "rest/services.page.response": Page[Service],
    "rest/sign_ups.patch.request.processed": SignUpChange,
    "rest/sign_ups.patch.request.rejected": SignUpChange,
    "rest/sign_ups.patch.request.virtual": SignUpChange,
}


@needs_specs
def test_every_sample_has_a_model() -> None:
    assert {str(p.relative_to(SPECS).with_suffix("")) for p in SPECS.glob("*/*.json")} == MODELS.keys()


@needs_specs
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_sample_is_read_and_nothing_of_it_is_lost(name: str) -> None:
    documented, kind = sample(name), TypeAdapter(MODELS[name])
    read = kind.validate_python(documented)
    written = kind.dump_python(read, mode="json", by_alias=True, exclude_unset=True)
    assert _same(written, documented)
    if "request" in name or "MESSAGES_OUT" in name:
        assert read.wire() == documented


def _same(ours: Any, theirs: Any) -> bool:
    """But for phones, which REST answers as numbers, for moments in another form, and for the hidden token."""
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(_same(ours[n], theirs[n]) for n in theirs if n != "access_token")
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(_same(a, b) for a, b in zip(ours, theirs, strict=True))
    if isinstance(ours, str) and ours.startswith("20"):
        return ours[:4] in str(theirs) or isinstance(theirs, int)
    return bool(str(ours) == str(theirs))


@needs_specs
def test_the_words_of_an_abonent() -> None:
    texts = {n: KafkaIncomingMessage.model_validate(sample(n)).text for n in MODELS if "MESSAGES_IN" in n}
    assert texts.pop("kafka/MESSAGES_IN.empty-text") is None
    assert set(texts.values()) == {"Текст сообщения от абонента"}


@needs_specs
async def test_the_twin_answers_with_the_documented_fields() -> None:
    async with RosDomofonTwin() as twin, api_of(twin) as api:
        home = await a_home(api)
        await api.send_message_to_abonent(home.abonent_id, "support", "Привет")
        token = (await api.authenticate()).access_token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}"}
        paths = {
            "accounts.list.response": "/accounts",
            "accounts.get.response": f"/accounts/{home.account_id}",
            "accounts.flats.response": f"/accounts/{home.account_id}/flats",
            "connections.list.response": f"/accounts/{home.account_id}/connections",
            "entrances.empty.response": "/entrances?address=none",
            "entrances.page0.response": "/entrances?size=1",
            "services.page.response": "/services",
            "abonents.messages.page.response": f"/abonents/{home.abonent_id}/messages",
        }
        async with httpx.AsyncClient(base_url=twin.url + V1, headers=headers, trust_env=False) as http:
            for name, path in paths.items():
                answer, documented = (await http.get(path)).json(), sample(f"rest/{name}")
                assert _kinds(answer) <= _kinds(documented), name


def _kinds(value: Any, at: str = "") -> set[tuple[str, str]]:
    """Every path with the type of what stands there; null is no type."""
    if isinstance(value, dict):
        return {(at, "dict")}.union(*(_kinds(v, f"{at}.{n}") for n, v in value.items()))
    if isinstance(value, list):
        return {(at, "list")}.union(*(_kinds(v, f"{at}[]") for v in value))
    return set() if value is None else {(at, type(value).__name__)}


def test_no_error_shows_what_came() -> None:
    with pytest.raises(ValueError, match="fromAbonent") as failed:
        KafkaIncomingMessage.model_validate({"fromAbonent": {"id": 1, "phone": f"{PHONE}x"}, "message": "тайна"})
    assert PHONE not in str(failed.value)
    assert "тайна" not in str(failed.value)


def test_unknown_fields_are_known_by_their_places() -> None:
    came = {"fromAbonent": {"id": 1, "phone": 79990000001, "x": [1]}, "y": {"z": None}}
    read: Wire = KafkaIncomingMessage.model_validate(came)
    assert read.unknown() == {"fromAbonent": {"x": [1]}, "y": {"z": None}}
