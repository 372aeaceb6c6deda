"""Kafka brokers (KRaft): one, or several with replication for the chaos run."""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient

from kounter.embedded.artifacts import KAFKA_VERSION, Artifacts
from kounter.embedded.errors import DataVersionMismatch, DiskFull, StartTimeout
from kounter.embedded.ports import HOST, free_port, holds
from kounter.embedded.process import Child
from kounter.embedded.service import SERIAL, JavaService, await_ready

LEAST_FREE_BYTES: Final = 1 << 30
INTERNAL_PARTITIONS: Final = 8
"""Partitions of each of Kafka's own topics; the default of 50 only costs start-up time here."""
LOGGING: Final = (
    f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}",
    "-Dlog4j2.disableJmx=true",
)


class Broker(JavaService):
    """One node, broker and controller."""

    def __init__(
        self,
        artifacts: Artifacts,
        folder: Path,
        port: int,
        *,
        node: int = 1,
        controllers: Sequence[int] = (),
        cluster_id: str | None = None,
        heap_mb: int = 512,
        log: Path | None = None,
    ) -> None:
        self.port, self.node, self._folder, self._artifacts = port, node, folder, artifacts
        self._controllers = tuple(controllers) or (free_port(),)
        self._cluster_id, self._heap = cluster_id, heap_mb
        self._log = log or folder / "kafka.log"

    @property
    def address(self) -> str:
        """Returns ``host:port`` of the broker."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Format the folder if it is new, and start without waiting. Raises DiskFull, DataVersionMismatch."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._check_disk()
        self._check_version()
        properties = self._folder / "server.properties"
        properties.write_text(self._properties(), "utf-8")
        if not (self._folder / "data" / "meta.properties").exists():
            cluster_id = self._cluster_id or new_cluster_id()
            self._run("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(properties))
        self.child = Child(f"kafka-{self.node}", self._command("kafka.Kafka", str(properties)), self._log)

    def await_ready(self) -> None:
        """Wait until this broker, and no other Kafka, answers a metadata request. Raises StartTimeout, PortTaken."""
        child = self.child
        assert child is not None
        ports = (self.port, self._controllers[self.node - 1])
        await_ready(child, lambda: holds(child.pid, self.port) and asyncio.run(_answers(self.address)), ports=ports)

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < LEAST_FREE_BYTES:
            raise DiskFull(f"{self._folder}: {free >> 20} MB are free, {LEAST_FREE_BYTES >> 20} MB are needed")

    def _check_version(self) -> None:
        mark = self._folder / "kafka.version"
        found = mark.read_text("utf-8").strip() if mark.exists() else ""
        if not found:  # the first start; or the power failed in it
            mark.write_text(KAFKA_VERSION + "\n", "utf-8")
        elif found != KAFKA_VERSION:
            raise DataVersionMismatch(f"{self._folder} was written by Kafka {found}, this is {KAFKA_VERSION}")

    def _command(self, main: str, *args: str) -> list[str]:
        classpath = str(self._artifacts.kafka / "*")
        return [str(self._artifacts.java), f"-Xmx{self._heap}m", *SERIAL, *LOGGING, "-cp", classpath, main, *args]

    def _run(self, main: str, *args: str) -> None:
        done = subprocess.run(self._command(main, *args), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StartTimeout(f"{main} failed: {(done.stderr or done.stdout)[-1000:]}")

    def _properties(self) -> str:
        copies = len(self._controllers)
        voters = ",".join(f"{i}@{HOST}:{port}" for i, port in enumerate(self._controllers, start=1))
        settings = {
            "process.roles": "broker,controller",
            "node.id": self.node,
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{HOST}:{self._controllers[self.node - 1]}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.quorum.voters": voters,
            "log.dirs": self._folder / "data",
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": INTERNAL_PARTITIONS,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "transaction.state.log.num.partitions": INTERNAL_PARTITIONS,
            "group.initial.rebalance.delay.ms": 0,
            "offsets.retention.minutes": 10 * 366 * 24 * 60,  # not a week: a stopped Kounter resumes where it was
            "log.cleaner.dedupe.buffer.size": 16 << 20,
            "log.index.size.max.bytes": 1 << 20,  # enough for 512 MB; a partition's first record makes two of them
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())


class BrokerCluster:
    """Several brokers on loopback, replication as many; each can be killed and started again."""

    def __init__(self, artifacts: Artifacts, folder: Path, count: int, heap_mb: int = 384) -> None:
        controllers = [free_port() for _ in range(count)]
        cluster_id = new_cluster_id()
        self.brokers = [
            Broker(
                artifacts,
                folder / f"kafka-{node}",
                free_port(),
                node=node,
                controllers=controllers,
                cluster_id=cluster_id,
                heap_mb=heap_mb,
            )
            for node in range(1, count + 1)
        ]

    @property
    def bootstrap_servers(self) -> str:
        """Returns the addresses of all brokers, separated by commas."""
        return ",".join(broker.address for broker in self.brokers)

    def start(self) -> None:
        """Start all brokers and wait until they are ready."""
        for broker in self.brokers:
            broker.start()
        for broker in self.brokers:
            broker.await_ready()

    def stop(self) -> None:
        """Kill all brokers. To keep the data, stop them one by one instead."""
        for broker in self.brokers:
            broker.kill()


def new_cluster_id() -> str:
    """Returns a random Kafka cluster id that StorageTool does not mistake for an option."""
    while True:
        made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not made.startswith("-"):
            return made


async def _answers(address: str) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=3_000)
    try:
        await admin.start()
        await admin.list_topics()
    except Exception:
        return False
    finally:
        await admin.close()
    return True
