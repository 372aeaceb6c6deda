"""A connector declares one outside system: its sinks, source, twin and settings, and how each of them is opened.

The program makes its commands, topics and lists from the connectors of all systems. A connector is imported by every
command, `kounter --help` too, so its module imports clients and twins only inside the functions that open them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from pydantic import BaseModel

from streams.kafka.settings import KafkaSettings

if TYPE_CHECKING:
    from schemas.codec.serde import Serde
    from streams.kafka.topics import Topic
    from streams.ports import Sink, Source

Part = TypeVar("Part", bound=BaseModel)
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True)
class Context:
    """The parts of the program that a connector needs to open its sinks, its source or its twin."""

    kafka: KafkaSettings
    """Our own cluster; without servers if none runs yet, which only a twin accepts."""
    data_dir: Path
    parts: Mapping[type[BaseModel], BaseModel]
    """The settings by class; those of the system name the twin if it stands in."""
    twin: str = ""
    """Address of the twin that stands in, empty if the system itself is set."""

    def part(self, kind: type[Part]) -> Part:
        """Returns the settings of a class. Raises KeyError if the program has none."""
        found = self.parts[kind]
        assert isinstance(found, kind)
        return found


class OpenSinks(NamedTuple):
    """Sinks of a system that is connected; each is delivered by itself."""

    sinks: Sequence[Sink]
    settles_s: float
    """Seconds after which an abandoned call can no longer take effect in the system."""
    begin: Callable[[], Awaitable[None]] | None = None
    """Raises BrokenSetup if it is another system than the one in which these commands were executed before."""
    shared: Callable[[float], None] | None = None
    """Gets the part of the system's limits that this process may use, from 0 to 1."""


@dataclass(frozen=True)
class Deliveries:
    """Sinks of a system, for `kounter deliver`."""

    topics: Mapping[str, str]
    """The topic of the commands, by name of the sink; groups, changelogs and `kounter jobs` use that name."""
    responses: str | None
    """The topic of all receipts of the system; None if its answers say nothing that is kept."""
    open: Callable[[Context], AbstractAsyncContextManager[OpenSinks]]
    own: Callable[[], Sequence[Topic]] = lambda: ()
    """Returns the topics of commands that no domain writes."""


class OpenSource(NamedTuple):
    """A source that is connected."""

    source: Source
    guard: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Runs beside the source, and raises BrokenSetup once another system answers."""
    app: Any = None
    """An ASGI application by which the source gets its data, served at `Inbound.listen`."""

    def guards(self) -> list[Coroutine[Any, Any, None]]:
        """Returns the guard to run, if there is one."""
        return [] if self.guard is None else [self.guard()]


class Listen(NamedTuple):
    """The address at which a source listens."""

    address: str
    """``host:port``."""
    variable: str
    """The variable that sets it."""


@dataclass(frozen=True)
class Inbound:
    """The source of a system, for `kounter source`."""

    process: str
    """Name of the process in logs, in the run file and in `kounter status`."""
    writes: Callable[[], Iterable[str]]
    """Returns the topics that it writes."""
    open: Callable[[Context, Serde], AbstractAsyncContextManager[OpenSource]]
    listen: Callable[[Context], Listen] | None = None
    groups: Callable[[Context], Mapping[str, Sequence[str]]] = lambda context: NOTHING
    """Returns our topics that it reads, by consumer group."""
    topics: Callable[[Context], Sequence[str]] = lambda context: ()
    """Returns further topics on our cluster, in other formats, whose names are settings."""


class TwinOption(NamedTuple):
    """A command-line option of a twin; its type is that of ``kind``."""

    name: str
    kind: Any
    default: Any
    help: str
    least: float | None = None


class ServedTwin(NamedTuple):
    """A twin that listens."""

    address: str
    """The address that clients use, as the run file has it."""
    shown: str
    """The same for people, with any further addresses."""


@dataclass(frozen=True)
class Twin:
    """The local server that stands in for a system, for `kounter twins`."""

    port: int
    """The usual port; another one is taken if it is in use."""
    serve: Callable[..., AbstractAsyncContextManager[ServedTwin]]
    """Serves it while the block runs; gets a `Context`, ``host``, ``port``, and the options by name."""
    stand_in: Callable[[Context, str], BaseModel]
    """Returns the system's settings with the address of the twin."""
    options: Sequence[TwinOption] = ()
    up: Sequence[str] = ()
    """Options with which `kounter up` starts it."""
    rules: Callable[[Context], Mapping[str, str]] = lambda context: NOTHING
    """Returns variables that the workers of `Connector.domains` get while it stands in."""


class Adoption(NamedTuple):
    """A change to another system than the one that is known, for `kounter adopt`.

    The ledgers of the system's sinks and its `Connector.files` are deleted, so none of its deliveries may run.
    """

    before: str
    after: str
    forgets: str
    """Data about the old system that is deleted, for people; ``{made}`` stands for the number of ledger records."""
    identities: Mapping[str, Mapping[str, Any]]
    """The new identities, by name."""


class Cluster(NamedTuple):
    """A Kafka cluster of an outside system."""

    kafka: KafkaSettings
    topics: Sequence[str]


@dataclass(frozen=True)
class Connector:
    """One outside system."""

    name: str
    """The argument of commands."""
    title: str
    noun: str
    """The word for the system in texts and in `kounter adopt`: portal, operator, feed."""
    settings: type[BaseModel]
    is_set: Callable[[Context], bool]
    """Returns whether the settings name a real system."""
    variables: str = ""
    """The variables that name it, for people."""
    deliveries: Deliveries | None = None
    source: Inbound | None = None
    twin: Twin | None = None
    domains: Sequence[str] = ()
    """Domains that `kounter up` runs only if the system is connected."""
    adoption: Callable[[Context], Awaitable[Adoption | None]] | None = None
    """Returns the change to the system that is set, None if that is the known one."""
    cluster: Callable[[Context], Cluster] | None = None
    """Returns the system's own Kafka cluster."""
    topics: Callable[[Context], Sequence[Topic]] = lambda context: ()
    """Returns our further topics, which exist only where the system is wanted."""
    alarms: Callable[[Context], Awaitable[list[str]]] | None = None
    """Returns a text for each thing of this system that a person must look at, from Kafka, so that no process of it
    needs to run. Raises KafkaError, KafkaSilent."""
    is_wanted: Callable[[Context], bool] = lambda context: True
    """Returns whether the deployment has the system at all: `kounter up` starts nothing of another one."""
    files: Sequence[str] = ()
    """Globs in the data folder: files that are only right for our Kafka cluster and for this system."""


class EndlessSource:
    """A source made of a coroutine function that runs until it is cancelled."""

    def __init__(self, endless: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._endless: Final = endless
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Run until `stop`. Raises the errors of the function."""
        running = asyncio.create_task(self._endless())
        stopping = asyncio.create_task(self._stopping.wait())
        self.ready.set()
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            for task in (running, stopping):
                task.cancel()
            await asyncio.gather(running, stopping, return_exceptions=True)

    def stop(self) -> None:
        """Cancel the function, and let `run` return."""
        self._stopping.set()
