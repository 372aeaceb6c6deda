"""The reading commands and the gateway as they are run: a lead's way from its topic to a reader."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock
from urllib.parse import quote

import httpx
import pytest

from kounter.cli import main
from kounter.connectors import all_topics
from kounter.embedded.ports import free_port
from kounter.settings import load
from schemas.errors import UndecodableRecord
from schemas.estate import Lead, LeadOp
from schemas.external import from_outside
from streams.domains.estate import ESTATE
from streams.kafka import dead_letters
from streams.kafka.partitioner import partition_of
from streams.kafka.topics import ensure_topics
from tests.support.cluster import PATIENCE_S, Cluster, eventually

pytestmark = pytest.mark.integration
Env = dict[str, str]


@pytest.fixture
def env(stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Env]:
    """For processes, and set in this one."""
    known = {
        "KOUNTER_DATA_DIR": str(tmp_path),
        "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "KOUNTER_REGISTRY__URL": stack.registry_url,
        "COLUMNS": "200",
    }
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    load.cache_clear()
    yield {**os.environ, **known}
    load.cache_clear()


@pytest.fixture
async def cluster(stack: Any) -> AsyncIterator[Cluster]:
    async with Cluster(stack, ESTATE) as cluster:
        yield cluster


def kounter(*arguments: str, code: int = 0) -> str:
    """Run the command line in this process, which spares seconds; its output, or what it says on stderr if it fails."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", ["kounter", *arguments]), redirect_stdout(out), redirect_stderr(err):
        ended = 0
        try:
            main()
        except SystemExit as error:
            ended = int(error.code or 0)
    assert ended == code, out.getvalue() + err.getvalue()
    return err.getvalue() if code else out.getvalue()


async def kounter_aside(*arguments: str, code: int = 0) -> str:
    """The same from where a loop runs."""
    return await asyncio.to_thread(kounter, *arguments, code=code)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def running(env: Env, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours until it is told to stop; it must leave in good order."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], env=env)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


async def test_a_leads_way_to_a_reader(cluster: Cluster, env: Env, tmp_path: Path) -> None:
    key, port = f"a/ü «{uuid.uuid4().hex}»", free_port()
    before = time.time()
    for row in (Lead(key, 1, state="ACTIVE"), LeadOp(key, 2, status="OPEN"), LeadOp(key, 2, status="OPEN")):
        await cluster.producer.send(row)
    await cluster.send_raw("estate.lead", key.encode(), b"\0\x7f\xff\xff\xff cut")
    address = {"KOUNTER_GATEWAY__LISTEN": f'["127.0.0.1:{port}"]'}
    with running(env, "kounter.worker", "estate", "0"), running({**env, **address}, "kounter", "gateway"):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            await eventually(lambda: _is_ready(http))
            path = "/api/estate/leads/" + quote(key, safe="")
            await eventually(lambda: _is_found(http, path))
            lead = (await http.get(path)).json()
            assert (lead["state"], lead["status"], lead["version"], lead["update_id"]) == ("ACTIVE", "OPEN", 2, 2)
            found = (await http.get("/api/estate/leads", params={"ext_id": key, "status": "OPEN"})).json()
            assert found["items"] == [lead]
            said = (await http.get(path + "/timeline")).json()
            assert [entry["verdict"] for entry in said] == ["applied", "applied", "duplicate", "unreadable"]

            async def folded() -> bool:
                health = (await http.get("/api/health")).json()["domains"]["estate"]
                return (health["workers"], health["lag_records"]) == (1, 0)

            await eventually(folded)
        groups = {group["group"]: group for group in json.loads(await kounter_aside("lag", "--json"))}
        assert (groups["estate"]["state"], groups["estate"]["records"]) == ("Stable", 0)
    assert json.loads(await kounter_aside("state", "lead", key, "--json"))["version"] == 2
    earlier = f"-{time.time() - before + 60:.0f}s"
    assert "nothing is known" in await kounter_aside("state", "lead", key, "--as-of", earlier, code=1)
    (letter,) = [found for found in lines(await kounter_aside("dead-letters", "ls", "--json")) if found["key"] == key]
    assert (letter["reason"], letter["topic"]) == ("unknown_schema_id", "estate.lead")


async def test_a_reported_clients_way_to_a_reader(cluster: Cluster, env: Env) -> None:
    key, port = uuid.uuid4().hex, free_port()
    for word, said in (
        ("client_fixing", {"client_ext_id": key, "update_id": 1, "fixing_type": "слабое закрепление"}),
        ("client", {"ext_id": key, "update_id": 3, "fullname": "Ада"}),
        ("client", {"ext_id": key, "update_id": 2, "fullname": "Адель"}),
    ):
        await cluster.producer.send(from_outside(word, said))
    address = {"KOUNTER_GATEWAY__LISTEN": f'["127.0.0.1:{port}"]'}
    with running(env, "kounter.worker", "estate", "0"), running({**env, **address}, "kounter", "gateway"):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            await eventually(lambda: _is_ready(http))

            async def known() -> bool:
                return (await http.get(f"/api/estate/clients/{key}")).json().get("source_updates") == "brusnika:3"

            await eventually(known)
            (found,) = (await http.get("/api/estate/clients", params={"fixing_type": "WEAK_FIXING"})).json()["items"]
            assert (found["ext_id"], found["version"], found["fullname"]) == (key, 1, "•да")
    told = lines(await kounter_aside("timeline", "client", key, "--json"))
    assert [entry["record"] for entry in told] == ["FixingReported", "ClientReported"]
    assert json.loads(await kounter_aside("state", "client", key, "--json"))["fixing_type"] == "WEAK_FIXING"
    again = lines(await kounter_aside("replay", "estate.client.commands", "--key", key))
    assert [entry["record"].get("source_update_id") for entry in again] == [1, 3, 2]


class Stranded(NamedTuple):
    """A record as a consumer has it."""

    key: bytes
    value: bytes
    topic: str
    partition: int
    offset: int
    timestamp: int
    headers: tuple[tuple[str, bytes], ...]


async def _is_ready(http: httpx.AsyncClient) -> bool:
    """The estate: other tests leave records of other domains, for which nobody works here."""
    with contextlib.suppress(httpx.TransportError):
        estate = (await http.get("/api/health")).json()["domains"].get("estate", {})
        return bool(estate.get("assigned") and estate.get("recovered") and estate.get("progressing"))
    return False


async def _is_found(http: httpx.AsyncClient, path: str) -> bool:
    return (await http.get(path)).json().get("version") == 2


async def test_timeline_and_replay_tell_what_is_on_the_topic(cluster: Cluster, env: Env) -> None:
    key = uuid.uuid4().hex
    sent = [await cluster.producer.send(row) for row in (Lead(key, 1, state="ACTIVE"), LeadOp(key, 3, status="OPEN"))]
    await cluster.producer.send(LeadOp(key, 2, status="BOOKED"))
    await cluster.producer.tombstone("estate.lead", key)
    told = lines(await kounter_aside("timeline", "estate.lead", key, "--json"))
    assert [entry["verdict"] for entry in told] == ["applied", "applied", "stale", "deleted"]
    assert told[1]["changed"] == {"status": [None, "OPEN"]}
    assert (told[1]["source"], told[1]["offset"]) == ("test", sent[1].offset)
    assert "status: OPEN" in await kounter_aside("timeline", "lead", key)
    again = lines(await kounter_aside("replay", "lead", "--key", key, "--from", "-10m"))
    assert [entry["type"] for entry in again] == ["Lead", "LeadOp", "LeadOp", "tombstone"]
    assert again[1]["record"] == {"lead_ext_id": key, "update_id": 3, "status": "OPEN"}
    assert again[0]["headers"]["ce_type"] == "kounter.estate.Lead"
    since, until = f"offset:{sent[0].offset}", f"offset:{sent[1].offset}"
    assert len(lines(await kounter_aside("replay", "lead", "--key", key, "--from", since, "--to", until))) == 1
    assert "LeadOp" in await kounter_aside("replay", "lead", "--key", key, "--format", "table")
    piped = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m kounter replay lead | head -1", stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    )
    out, err = await piped.communicate()
    assert (len(out.splitlines()), b"Error" in err) == (1, False)


async def test_what_was_put_aside_stands_in_its_timeline_and_every_topic_can_be_replayed(
    cluster: Cluster, env: Env
) -> None:
    await ensure_topics(cluster.kafka, all_topics())
    key = uuid.uuid4().hex
    home = partition_of(key.encode(), cluster.kafka.partitions)
    value = cluster.serde.encode("estate.lead", Lead(key, 1, state="ACTIVE"))
    elsewhere = (home + 1) % cluster.kafka.partitions
    astray = await cluster.raw.send_and_wait("estate.lead", value, key.encode(), partition=elsewhere)
    record = Stranded(key.encode(), value, "estate.lead", elsewhere, astray.offset, astray.timestamp, ())
    letter = dead_letters.dead_letter("estate.lead", record, UndecodableRecord("wrong_partition", "so"))
    sent = await cluster.raw.send_and_wait(
        dead_letters.TOPIC, letter.value, letter.key, partition=elsewhere, headers=letter.headers
    )
    (told,) = lines(await kounter_aside("timeline", "leads", key, "--json"))
    assert (told["verdict"], told["partition"], told["reason"]) == ("dead-letter", elsewhere, "wrong_partition")
    await kounter_aside("dead-letters", "retry", f"{sent.partition}:{sent.offset}")
    first, second = lines(await kounter_aside("timeline", "lead", key, "--json"))
    assert (first["verdict"], "put_back" in first) == ("dead-letter", True)
    assert (second["verdict"], second["partition"]) == ("applied", home)
    types = [line["type"] for line in lines(await kounter_aside("replay", "dead-letters", "--key", key))]
    assert types == ["dead letter", "put back"]
    for topic in ("bitrix.commands", "estate-state-changelog", "delivery-bitrix24-changelog", "directory.commands"):
        await kounter_aside("replay", topic, "--key", key)


async def test_a_dead_letter_is_shown_whole_and_steers_nothing(cluster: Cluster, env: Env) -> None:
    key = uuid.uuid4().hex
    value = cluster.serde.encode("estate.lead", Lead(key, 1, state="ACTIVE"))
    headers = {
        dead_letters.REASON: "wrong_partition",
        "__connect.errors.topic": "estate.lead",
        "__connect.errors.exception.message": "[bold]\x1b[2J[/nothing]",
        "original.ce_source": "a stranger",
    }
    sent = await cluster.raw.send_and_wait(
        dead_letters.TOPIC, value, key.encode(), headers=[(name, text.encode()) for name, text in headers.items()]
    )
    id = f"{sent.partition}:{sent.offset}"
    (letter,) = lines(
        await kounter_aside("dead-letters", "ls", "--reason", "wrong_partition", "--limit", "1", "--json")
    )
    assert (letter["id"], letter["key"]) == (id, key)
    assert "\x1b[2J" not in await kounter_aside("dead-letters", "ls")
    shown = await kounter_aside("dead-letters", "show", id)
    assert "[bold]\N{REPLACEMENT CHARACTER}[2J[/nothing]" in shown
    assert "a stranger" in shown
    assert "ACTIVE" in shown
    assert "000000  00" not in shown
    assert "000000  00" in await kounter_aside("dead-letters", "show", id, "--personal")
    whole = json.loads(await kounter_aside("dead-letters", "show", id, "--personal", "--json"))
    assert base64.b64decode(whole["value_base64"]) == value
    assert "no dead letter" in await kounter_aside(
        "dead-letters", "show", f"{sent.partition}:{sent.offset + 999}", code=1
    )


def test_topics_are_made_and_listed(env: Env) -> None:
    kounter("topics", "create")
    topics = {topic["topic"]: topic for topic in json.loads(kounter("topics", "--json"))}
    assert topics["estate-state-changelog"]["cleanup"] == "compact"
    assert topics["estate.lead"]["partitions"] == 8
    assert "all are there" in kounter("topics", "create")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("state", "leed", "x"), "There are: estate.city"),
        (("replay", "lead", "--from", "yesterday"), "expected a time"),
        (("state", "lead", "x", "--as-of", "offset:1"), "expected a time"),
        (("dead-letters", "show", "x"), "PARTITION:OFFSET"),
        (("dead-letters", "show", "99:1"), "no dead letter"),
        (("timeline", "lead", "never was"), "no record of estate.lead never was"),
    ],
)
def test_what_can_not_be_is_told_in_a_line(env: Env, arguments: tuple[str, ...], said: str) -> None:
    assert said in kounter(*arguments, code=1)


def test_nothing_runs_or_kafka_is_away(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("KOUNTER_GATEWAY__LISTEN", '["0.0.0.0:0"]')
        load.cache_clear()
        assert "KOUNTER_GATEWAY__TOKEN" in kounter("gateway", code=64)
        patch.setenv("KOUNTER_KAFKA__BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
        load.cache_clear()
        assert "Kafka can't be asked" in kounter("lag", code=1)
        patch.delenv("KOUNTER_KAFKA__BOOTSTRAP_SERVERS")
        patch.delenv("KOUNTER_REGISTRY__URL")
        load.cache_clear()
        assert "Start `kounter up`" in kounter("lag", code=64)
