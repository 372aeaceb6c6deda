"""The embedded stack as it runs: data stays, one stack a folder, loopback only, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from kounter.embedded.errors import StackBusy
from kounter.embedded.guard import GRACE_S
from kounter.embedded.ports import free_port, listens
from kounter.embedded.runfile import RunFile
from kounter.embedded.stack import EmbeddedStack
from tests.support.cluster import PATIENCE_S
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("embedded")]  # they share a fixture

TOPIC = "embedded.test"
SCHEMA = json.dumps({"type": "record", "name": "Seen", "fields": [{"name": "ext_id", "type": "string"}]})
OWNER = """
import sys, time
from pathlib import Path
from kounter.embedded.stack import EmbeddedStack
stack = EmbeddedStack(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).start()
print("ready", flush=True)
time.sleep(600)
"""


class Owner:
    """A process with a stack of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ports = folder, (free_port(), free_port())
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(folder), *map(str, self.ports)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def java(self) -> list[psutil.Process]:
        """What really serves: the children of the guards."""
        guards = [psutil.Process(service.pid) for service in RunFile(self.folder).read()]
        return [child for guard in guards for child in guard.children(recursive=True)]

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owner]:
    """Tests run in the file's order; the last ones kill it."""
    started = Owner(tmp_path_factory.mktemp("embedded"))
    yield started
    started.kill()


def register(url: str) -> int:
    answer = httpx.post(f"{url}/subjects/{TOPIC}-Seen/versions", json={"schema": SCHEMA}, timeout=60)
    return int(answer.raise_for_status().json()["id"])


async def produce(servers: str, value: bytes) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all")
    await producer.start()
    await producer.send_and_wait(TOPIC, value)
    await producer.stop()


async def consume(servers: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(TOPIC, 0)])
        return [record.value for records in (await consumer.getmany(timeout_ms=5_000)).values() for record in records]
    finally:
        await consumer.stop()


def test_both_services_are_noted_and_listen_on_loopback_only(owner: Owner) -> None:
    assert [service.name for service in RunFile(owner.folder).read()] == ["kafka", "registry"]
    java = owner.java()
    assert len(java) == 2
    for process in java:
        listening = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert len(listening) >= 2  # broker and controller; API and management
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_kafka_logs_how_it_started_and_no_line_for_each_partition(owner: Owner) -> None:
    lines = (owner.folder / "logs" / "kafka.log").read_text("utf-8").splitlines()
    assert any(" INFO " in line and line.endswith("Kafka version: 4.3.1") for line in lines)
    assert not any(line.startswith("SLF4J") for line in lines)
    assert len(lines) < 60


def test_a_second_stack_on_the_same_folder_names_the_first(owner: Owner) -> None:
    with pytest.raises(StackBusy, match=rf"process {owner.process.pid} runs a stack") as error:
        EmbeddedStack(owner.folder, free_port(), free_port()).start()
    assert "KOUNTER_DATA_DIR" in error.value.hint


def test_a_service_that_dies_is_started_again_on_its_port(owner: Owner) -> None:
    run = RunFile(owner.folder)
    before = {service.name: service for service in run.read()}
    for process in owner.java():
        process.kill()

    def back() -> bool:
        now = {service.name: service for service in run.read()}
        return now.keys() == before.keys() and all(now[n].pid != before[n].pid for n in now)

    wait_until(back)
    wait_until(lambda: len(owner.java()) == 2 and all(map(listens, owner.ports)))
    assert [(s.name, s.address) for s in sorted(run.read())] == [(s.name, s.address) for s in sorted(before.values())]


def test_data_and_schema_ids_survive_kill_9_and_an_orderly_end(owner: Owner) -> None:
    """And kill -9 of the owner leaves no process; a start right after it waits for the end of what it left."""
    servers, url = (f"127.0.0.1:{owner.ports[0]}", f"http://127.0.0.1:{owner.ports[1]}/apis/ccompat/v7")
    asyncio.run(produce(servers, b"kept"))
    httpx.post(f"{url}/subjects/other/versions", json={"schema": SCHEMA.replace("Seen", "Other")}, timeout=60)
    schema_id = register(url)

    java = owner.java()
    owner.kill()
    for orderly in (False, True):
        with EmbeddedStack(owner.folder, *owner.ports) as stack:
            if not orderly:
                assert not any(process.is_running() for process in java)
            assert stack.bootstrap_servers == servers
            assert asyncio.run(consume(servers)) == [b"kept"]
            assert register(stack.registry_url) == schema_id
            java = owner.java()
            assert len(java) == 2
    wait_until(lambda: not any(process.is_running() for process in java))
    assert RunFile(owner.folder).read() == []


def test_kill_9_of_the_parent_ends_also_what_ignores_sigterm(tmp_path: Path) -> None:
    """After the guard's grace."""
    deaf = (
        "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    script = (
        "import sys,time; from pathlib import Path; from kounter.embedded.process import Child\n"
        "child = Child('deaf', [sys.executable, '-c', sys.argv[2]], Path(sys.argv[1]))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    log = tmp_path / "deaf.log"
    with subprocess.Popen([sys.executable, "-c", script, str(log), deaf], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        guard = psutil.Process(int(parent.stdout.readline()))
        wait_until(lambda: "deaf" in log.read_text())
        processes = [guard, *guard.children(recursive=True)]
        parent.kill()
    assert len(processes) == 2
    wait_until(lambda: not any(process.is_running() for process in processes), GRACE_S + PATIENCE_S)
