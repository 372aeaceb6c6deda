"""``kounter dead-letters retry``, ``kounter parked`` and ``kounter jobs`` as a person calls them."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from typer.testing import CliRunner

from adapters.brusnika.dead_letters import letter_of
from adapters.brusnika.frames import BadFrame, read_frame
from adapters.brusnika.window import Refused
from adapters.rosdomofon.source import burying
from kounter.cli import app
from kounter.commands import jobs as shown_jobs
from kounter.commands.repair import parked as command
from kounter.connectors import all_topics
from kounter.settings import load
from schemas.bitrix24 import CardAction
from schemas.errors import DeliveryRefused, InvalidInput, UndecodableRecord
from streams.domains import DOMAINS
from streams.kafka.dead_letters import MOST_BYTES, RETRIED, TOPIC, dead_letter
from streams.kafka.topics import changelog_of, ensure_topics
from streams.topology import topics_of
from tests.support.cluster import eventually
from tests.support.deliveries import Bench, Port

pytestmark = pytest.mark.integration


class Stranded(NamedTuple):
    """A record of the operator's cluster."""

    key: bytes | None
    value: bytes
    topic: str
    partition: int
    offset: int
    timestamp: int
    headers: list[tuple[str, bytes]]


@pytest.fixture(autouse=True)
def environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("KOUNTER_KAFKA__BOOTSTRAP_SERVERS", bench.cluster.kafka.bootstrap_servers)
    monkeypatch.setenv("KOUNTER_REGISTRY__URL", bench.cluster.registry.url)
    load.cache_clear()
    yield
    load.cache_clear()


async def kounter(*arguments: str) -> dict[str, Any]:
    """What it says as JSON."""
    answer: dict[str, Any] = json.loads(await said(*arguments))
    return answer


async def said(*arguments: str) -> str:
    """In a thread, as it runs a loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    if result.exception is not None:
        raise result.exception
    return result.stdout


async def jobs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``kounter jobs`` says of this test's delivery."""
    monkeypatch.setattr(shown_jobs, "sinks", lambda: {"test": bench.topic})
    monkeypatch.setattr(shown_jobs, "group_of", lambda system: bench.group)
    (counts,) = json.loads(await said("jobs", "--json"))
    assert "test" in await said("jobs")
    return dict(counts)


async def test_dead_letters_go_back_where_they_came_from(bench: Bench) -> None:
    await bench.cluster.send_raw(bench.reply, b"l-1", b"noise")
    await bench.cluster.send_raw(bench.reply, None, b"more")
    await bench.cluster.raw.send_and_wait(bench.reply, b"null", b"l-2", partition=3, headers=[("x", None)])
    came = sorted(await bench.cluster.read(bench.reply), key=lambda record: record.value)
    for record in came:
        letter = dead_letter(bench.reply, record, InvalidInput("x", "y", "z"))
        await bench.cluster.raw.send_and_wait(TOPIC, letter.value, letter.key, headers=letter.headers)

    options = ("dead-letters", "retry", "--topic", bench.reply, "--json")
    reasons = [{"topic": bench.reply, "reason": "invalid_input", "records": 3}]
    assert await kounter(*options, "--dry-run") == {"records": 3, "reasons": reasons, "unreadable": [], "dry_run": True}
    assert len(await bench.cluster.read(bench.reply)) == 3
    assert "l-2" in await said("dead-letters", "ls", "--topic", bench.reply)
    assert await kounter(*options) == {"records": 3, "reasons": reasons, "unreadable": [], "dry_run": False}
    letters = (await said("dead-letters", "ls", "--topic", bench.reply, "--json")).splitlines()
    assert [json.loads(letter)["status"] for letter in letters] == ["put back"] * 3
    assert await kounter(*options, "--dry-run") == {"records": 3, "reasons": reasons, "unreadable": [], "dry_run": True}
    shown = await kounter("dead-letters", "show", json.loads(letters[0])["id"], "--json")
    assert shown["status"] == "put back"
    back = [r for r in await bench.cluster.read(bench.reply) if RETRIED in dict(r.headers)]
    assert [(r.key, r.value, r.partition, r.timestamp) for r in sorted(back, key=lambda record: record.value)] == [
        (r.key, r.value, r.partition, r.timestamp) for r in came
    ]


async def test_one_that_was_too_large_to_be_kept_is_told_of_and_holds_up_no_other(bench: Bench) -> None:
    topic = f"MESSAGES_IN_{bench.group}"
    huge = Stranded(b"l-1", b"x" * (MOST_BYTES + 1), bench.reply, 0, 7, 1_700_000_000_000, [])
    whole = huge._replace(value=b"x" * 1_040_000)
    producer = AIOKafkaProducer(**bench.cluster.kafka.client_options(), max_request_size=2 << 20)
    await producer.start()
    for record in (huge, whole):
        letter = dead_letter(bench.reply, record, UndecodableRecord("too_large", "x"))
        await producer.send_and_wait(TOPIC, letter.value, letter.key, headers=letter.headers)
    await producer.stop()
    async with burying(bench.cluster.kafka) as bury:
        for record in (huge, whole._replace(value=b"x" * MOST_BYTES, key=None)):
            await bury(cast(Any, record._replace(topic=topic)), UndecodableRecord("invalid", "x"))
    for of, records, stays in ((bench.reply, 1, 1), (topic, 0, 2)):
        options = ("dead-letters", "retry", "--topic", of, "--json")
        result = await asyncio.to_thread(CliRunner().invoke, app, options)
        assert result.exit_code == 1
        answer = json.loads(result.stdout)
        assert answer["records"] == records
        assert len(answer["unreadable"]) == stays
        still = answer["unreadable"][0]
        assert "stands only where it came from" in still["reason"]
        shown = await kounter("dead-letters", "show", still["id"], "--json")
        assert "stands only where it came from" in shown["record"]
        assert shown["bytes"] > MOST_BYTES


async def test_what_the_bridge_could_not_read_is_taken_over_once_it_can_be(bench: Bench) -> None:
    await ensure_topics(bench.cluster.kafka, topics_of([DOMAINS["domofon"]]))
    topic = f"MESSAGES_IN_{bench.group}"
    record = Stranded(None, b'{"fromAbonent": {"id": "?", "phone": 12}}', topic, 2, 7, 1_700_000_000_000, [])
    letter = dead_letter(topic, record, UndecodableRecord("invalid", "phone"), "bridge")
    sent = await bench.cluster.raw.send_and_wait(TOPIC, letter.value, letter.key, headers=letter.headers)
    id, options = f"{sent.partition}:{sent.offset}", ("dead-letters", "retry", "--topic", topic, "--json")
    result = await asyncio.to_thread(CliRunner().invoke, app, options)
    assert result.exit_code == 1
    (still,) = json.loads(result.stdout)["unreadable"]
    assert still["id"] == id
    assert "fromAbonent.id" in still["reason"]
    with pytest.raises(InvalidInput):
        await said("dead-letters", "retry", "--topic", "no-such", "--edit", "{}")
    mended = json.dumps({"fromAbonent": {"id": 15, "phone": 79990000001}, "channel": "support", "message": "Да"})
    for _ in range(2):
        assert (await kounter(*options, "--edit", mended))["records"] == 1
    key = f"15/{topic}/2/7"
    raw = await bench.cluster.read("domofon.message", key)
    rows = [await bench.cluster.serde.decode("domofon.message", r.value) for r in raw]
    assert [(row.text, row.said_at) for row in rows] == [("Да", 1_700_000_000_000_000)] * 2
    assert len({dict(r.headers)["ce_id"] for r in raw}) == 1


async def test_a_frame_of_the_feed_is_taken_once_its_values_are_corrected(bench: Bench) -> None:
    await ensure_topics(bench.cluster.kafka, all_topics())
    source, ext_id = f"feed-{bench.group}", f"premise-{bench.group}"
    body = {"ext_id": ext_id, "update_id": 17, "floor": "третий", "comment": "Анна", "password": "hunter2"}
    raw = json.dumps({"data": {"type": "premise", "data": body}, "error": None}).encode()
    with pytest.raises(BadFrame) as caught:
        read_frame(raw, max_bytes=1_000)
    letter = letter_of(source, Refused(raw, caught.value, len(raw)), 1_700_000_000_000)
    sent = await bench.cluster.raw.send_and_wait(TOPIC, letter.value, letter.key, headers=letter.headers)
    shown = await kounter("dead-letters", "show", f"{sent.partition}:{sent.offset}", "--json")
    assert shown["record"]["data"]["data"] == {"ext_id": ext_id, "update_id": 17, "floor": "третий"}
    options = ("dead-letters", "retry", "--topic", source, "--json")
    result = await asyncio.to_thread(CliRunner().invoke, app, options)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["unreadable"][0]["reason"] == "floor: expected a whole number of at most 64 bits"
    assert (await kounter(*options, "--edit", '{"floor": 3}'))["records"] == 1
    (record,) = await bench.cluster.read("estate.premise", ext_id)
    row = await bench.cluster.serde.decode("estate.premise", record.value)
    assert (row.update_id, row.floor) == (17, 3)
    (again,) = [
        json.loads(line) for line in (await said("dead-letters", "ls", "--topic", source, "--json")).splitlines()
    ]
    assert (again["reason"], again["status"], again["offset"]) == ("wrong_value", "put back", "17")


async def test_parked_commands_are_seen_tried_again_and_dropped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_memories", lambda system: [changelog_of(bench.group)])
    port = Port()
    commands = [bench.command(key, CardAction.CREATE_CARD, "NEU") for key in ("a", "a", "b")]
    for refused in (commands[0], commands[2]):
        port.errors[refused.command_id] = [DeliveryRefused("no stage 9")]
    await bench.send(*commands)
    delivery = bench.delivery(port)
    running = asyncio.create_task(delivery.run())
    await eventually(lambda: delivery.stats.parked == 3)
    causes = {"delivery_refused: no stage #": 2, "parked_behind: an earlier command of the key was refused": 1}
    found = {"commands": 3, "keys": 2, "causes": causes}

    async def are_committed() -> bool:  # what the delivery counts may not be in Kafka yet
        return await kounter("parked", "retry", "--all", "--dry-run", "--json") == found | {"dry_run": True}

    await eventually(are_committed)
    counts = await jobs(bench, monkeypatch)
    assert {n: counts[n] for n in ("completed", "failed", "parked", "parked_keys", "waiting", "processes")} == {
        "completed": 0, "failed": 2, "parked": 3, "parked_keys": 2, "waiting": 0, "processes": 1,
    }  # fmt: skip
    listed = await said("parked", "ls", "--key", commands[0].ext_id, "--json")
    assert [json.loads(line)["behind"] for line in listed.splitlines()] == [False, True]
    shown = json.loads((await said("parked", "show", commands[2].ext_id, "--json")).splitlines()[0])
    assert (shown["command"]["stage"], shown["message"]) == ("NEU", "no stage 9")
    assert "no stage 9" in await said("parked", "show", commands[2].ext_id)
    assert commands[0].ext_id in (await said("parked", "ls")).replace("\n", "")

    assert (await kounter("parked", "drop", "--key", commands[2].ext_id, "--json"))["commands"] == 1
    await eventually(lambda: delivery.stats.parked == 2)
    await kounter("parked", "retry", "--cause", "NO STAGE", "--set", "stage=NEW", "--json")
    await eventually(lambda: delivery.stats.parked == 0)
    delivery.stop()
    await asyncio.wait_for(running, 15)
    assert [c for _, c, _ in port.calls if c != commands[2].command_id] == [
        commands[0].command_id, commands[0].command_id, commands[1].command_id,
    ]  # fmt: skip
    assert "nothing is parked" in await said("parked", "ls")
    counts = await jobs(bench, monkeypatch)
    assert (counts["completed"], counts["failed"], counts["parked"], counts["processes"]) == (2, 2, 0, 0)


async def test_counts_survive_offsets_that_somebody_set(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """By Kafka's own tools, which leave the metadata of an offset empty."""
    port, commands = Port(), [bench.command(key, CardAction.CREATE_CARD, "NEW") for key in ("a", "b", "b")]
    port.errors[commands[1].command_id] = [DeliveryRefused("no stage 9")]
    await bench.send(*commands)
    for turn in range(2):
        delivery = bench.delivery(port)
        running = asyncio.create_task(delivery.run())
        await eventually(lambda delivery=delivery: delivery.stats.parked == 2)
        await eventually(lambda delivery=delivery, turn=turn: turn or delivery.stats.completed == 1)
        delivery.stop()
        await asyncio.wait_for(running, 15)
        before = await jobs(bench, monkeypatch)
        assert (before["completed"], before["failed"], before["parked"], before["parked_keys"]) == (1, 1, 2, 1)
        consumer = AIOKafkaConsumer(**bench.cluster.kafka.client_options(), group_id=bench.group)
        async with consumer:
            tps = [TopicPartition(bench.topic, p) for p in range(bench.cluster.kafka.partitions)]
            consumer.assign(tps)
            await consumer.commit({tp: OffsetAndMetadata(e, "") for tp, e in (await consumer.end_offsets(tps)).items()})
        assert await jobs(bench, monkeypatch) == before
    assert len(port.calls) == 2, "nothing is done again"


async def test_without_a_choice_nothing_is_done(bench: Bench) -> None:
    for arguments in (("dead-letters", "retry"), ("parked", "retry"), ("parked", "drop", "--all", "--key", "x")):
        with pytest.raises(InvalidInput):
            await kounter(*arguments)
    with pytest.raises(InvalidInput):
        await kounter("parked", "retry", "--all", "--set", "stage")
