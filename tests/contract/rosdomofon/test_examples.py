"""The examples in the docstrings of RosDomofon's client are executed, against the twin."""

from __future__ import annotations

import ast
import doctest
import inspect
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.kafka.models import KafkaAbonentInfo, KafkaOutgoingMessage
from adapters.rosdomofon.rest.accounts import Accounts
from adapters.rosdomofon.rest.messages import Messages
from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from adapters.rosdomofon.twin.kafka import TwinOperator
from adapters.rosdomofon.twin.server import RosDomofonTwin
from streams.kafka.settings import KafkaSettings
from tests.support.systems.rosdomofon import a_home, api_of

SEED = {
    *("authenticate", "get_accounts", "get_account_by_phone", "create_account", "create_flat", "get_entrance_services"),
    *("connect_service", "get_account_connections", "get_service_connections", "block_account", "unblock_account"),
    *("block_connection", "unblock_connection", "send_message", "send_message_to_abonent", "get_abonent_messages"),
    *("set_kafka_message_handler", "start_kafka_consumer", "stop_kafka_consumer", "send_kafka_message"),
    "send_kafka_message_to_multiple",
}


def public(*classes: type) -> list[str]:
    found = [n for c in classes for n, v in vars(c).items() if inspect.isfunction(v) and not n.startswith("_")]
    return list(dict.fromkeys(found))


def test_all_methods_of_the_seed_are_there() -> None:
    assert set(public(RosDomofonAPI, Accounts, Messages)) >= SEED


async def run(document: str, names: dict[str, Any]) -> None:
    """Execute every example; each must show what it says."""
    examples = doctest.DocTestParser().get_examples(document)
    assert examples
    for example in examples:
        code = compile(example.source.strip(), "<example>", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        shown = eval(code, names)  # noqa: S307 - our own docstrings
        shown = await shown if inspect.iscoroutine(shown) else shown
        assert ("" if shown is None else f"{shown!r}\n") == example.want


@pytest.mark.parametrize("name", ["authenticate", *public(Accounts, Messages)])
async def test_an_example_of_the_api(name: str) -> None:
    async with RosDomofonTwin() as twin, api_of(twin) as api:
        home = await a_home(api, "ACC123456", "79061234567")
        twin.operator.add_abonent(79990000002, 1_480_844)
        twin.operator.keep_sign_up({"id": 566_836, "status": "UNPROCESSED"})
        for incoming, text in ((True, "Здравствуйте"), (False, "Привет")):
            twin.operator.keep_message(home.abonent_id, 79061234567, "support", incoming, text, "app")
        await run(inspect.getdoc(getattr(api, name)) or "", {"api": api})


@pytest.fixture
async def settings(stack: Any) -> AsyncIterator[RosDomofonKafkaSettings]:
    name, servers = f"T_{secrets.token_hex(4)}", stack.bootstrap_servers
    async with (
        RosDomofonTwin() as twin,
        TwinOperator(KafkaSettings(bootstrap_servers=servers), twin.operator, [name]),
    ):
        yield RosDomofonKafkaSettings(bootstrap_servers=servers, group_id=name, companies=(name,))


@pytest.mark.integration
async def test_the_examples_of_the_kafka_class(settings: RosDomofonKafkaSettings) -> None:
    known = {"KafkaOutgoingMessage": KafkaOutgoingMessage, "KafkaAbonentInfo": KafkaAbonentInfo}
    async with RosDomofonKafka(settings) as kafka:
        for name in public(RosDomofonKafka):
            if name != "wait":  # for ever
                await run(inspect.getdoc(getattr(kafka, name)) or "", {"kafka": kafka, **known})


@pytest.mark.integration
async def test_the_examples_of_the_seeds_names(settings: RosDomofonKafkaSettings) -> None:
    async with RosDomofonTwin() as twin, RosDomofonAPI(twin.settings(), settings) as api:
        for name in public(RosDomofonAPI):
            if "kafka" in name:
                await run(inspect.getdoc(getattr(api, name)) or "", {"api": api})
