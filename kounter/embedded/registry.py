"""The Apicurio registry, which speaks Confluent's API under ``/apis/ccompat/v7``. Its ids survive a restart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import httpx

from kounter.embedded.artifacts import Artifacts
from kounter.embedded.ports import HOST, free_port, holds
from kounter.embedded.process import Child
from kounter.embedded.service import SERIAL, JavaService, await_ready

PATH: Final = "/apis/ccompat/v7"


class Registry(JavaService):
    """The registry's process, which stores its data in an H2 file in ``folder``."""

    def __init__(self, artifacts: Artifacts, folder: Path, port: int, log: Path | None = None) -> None:
        self.port, self._folder, self._artifacts = port, folder, artifacts
        self._management = free_port()
        self._log = log or folder / "registry.log"

    @property
    def url(self) -> str:
        """Returns the URL of the Confluent API."""
        return f"http://{HOST}:{self.port}{PATH}"

    def start(self) -> None:
        """Start the process without waiting."""
        self._folder.mkdir(parents=True, exist_ok=True)
        env = {
            **os.environ,
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(self.port),
            "QUARKUS_MANAGEMENT_HOST": HOST,
            "QUARKUS_MANAGEMENT_PORT": str(self._management),
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "h2",
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{self._folder / 'registry'}",
        }
        jar = str(self._artifacts.registry / "quarkus-run.jar")
        command = [str(self._artifacts.java), "-Xmx384m", *SERIAL, "-jar", jar]
        self.child = Child("registry", command, self._log, env)

    def await_ready(self) -> None:
        """Wait until this registry, and no other, lists its subjects. Raises StartTimeout, PortTaken."""
        child = self.child
        assert child is not None
        ports = (self.port, self._management)
        await_ready(child, lambda: holds(child.pid, self.port) and self._answers(), ports=ports)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/subjects", timeout=3).status_code == 200
        except httpx.HTTPError:
            return False
