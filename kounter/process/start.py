"""The services of one Kounter, in the order of their start."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from adapters.connector import Connector, Context
from kounter.connectors import CONNECTORS, TWIN, context_of
from kounter.process.sockets import bind
from kounter.process.supervisor import Services
from streams.domains import DOMAINS

NO_OPTIONS: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})


class Start:
    """The services of some outside systems, and of domains. Each step starts them, and returns once they are ready."""

    def __init__(
        self,
        services: Services,
        systems: Sequence[Connector],
        *,
        twins: bool,
        workers: int,
        twin_options: Mapping[str, Sequence[str]] = NO_OPTIONS,
    ) -> None:
        """Take those of ``systems`` that are wanted and set, and with ``twins`` those that have a twin. ``workers`` are
        processes of each domain; ``twin_options`` are arguments of `kounter twins` by system, for the usual ones."""
        self._services, self._workers, self._options = services, workers, twin_options
        self._context: Final[Context] = context_of(services.settings)
        wanted = [c for c in systems if c.is_wanted(self._context)]
        self._twins = {c.name: c.twin for c in wanted if c.twin and twins and not c.is_set(self._context)}
        self.systems: Final = [c for c in wanted if c.name in self._twins or c.is_set(self._context)]

    def check_ports(self) -> None:
        """Raises BrokenSetup if a fixed port is taken: now, not once all other services run."""
        bind(self._services.settings.gateway.listen[0], "KOUNTER_GATEWAY__LISTEN").close()
        for system in self.systems:
            if system.source and system.source.listen:
                bind(*system.source.listen(self._context)).close()
        if self._services.settings.backend.enabled:
            bind(self._services.settings.backend.listen, "KOUNTER_BACKEND__LISTEN").close()

    def start_workers(self, domains: Sequence[str]) -> None:
        """Start the twins, and workers of ``domains`` and of the systems' own domains."""
        names = []
        for name, twin in self._twins.items():
            self._services.start(TWIN + name, "twins", name, *self._options.get(name, twin.up))
            names.append(TWIN + name)
        for domain in domains:
            names += [self._services.start_worker(domain, slot) for slot in range(self._workers)]
        for system in self.systems:
            standing_in = self._twins.get(system.name)
            rules = standing_in.rules(self._context) if standing_in else None
            for domain in system.domains:
                names += [self._services.start_worker(domain, slot, rules) for slot in range(self._workers)]
        self._await(names)

    def start_deliveries(self) -> None:
        """Start the delivery of each system."""
        systems = [system.name for system in self.systems if system.deliveries]
        for name in systems:
            self._services.start(f"delivery-{name}", "deliver", name)
        self._await([f"delivery-{name}" for name in systems])

    def start_sources(self, but: Collection[str] = ()) -> None:
        """Start the source of each system ``but`` some."""
        sources = {s.name: s.source.process for s in self.systems if s.source and s.name not in but}
        for name, process in sources.items():
            self._services.start(process, "source", name)
        self._await(list(sources.values()))

    def start_backend(self) -> None:
        """Start the writer and server of the main backend's log, if it is on."""
        if self._services.settings.backend.enabled:
            self._services.start("backend", "backend")
            self._await(["backend"])

    def start_gateway(self) -> None:
        """Start the gateway."""
        self._services.start("gateway", "gateway")
        self._await(["gateway"])

    def _await(self, names: Sequence[str]) -> None:
        for name in names:
            self._services.await_service(name)


def start_all(
    services: Services,
    *,
    twins: bool,
    workers: int,
    systems: Sequence[Connector] = CONNECTORS,
    domains: Sequence[str] | None = None,
    twin_options: Mapping[str, Sequence[str]] = NO_OPTIONS,
    but_sources: Collection[str] = (),
) -> None:
    """Start all services, see `Start`. ``domains`` are by default all that belong to no system.

    Raises BrokenSetup if a fixed port is taken, StartTimeout if a service does not get ready.
    """
    start = Start(services, systems, twins=twins, workers=workers, twin_options=twin_options)
    start.check_ports()
    if domains is None:
        owned = {domain for system in CONNECTORS for domain in system.domains}
        domains = [name for name in DOMAINS if name not in owned]
    start.start_workers(domains)
    start.start_backend()
    start.start_deliveries()
    start.start_gateway()
    start.start_sources(but_sources)


def start_system(services: Services, system: Connector, *, workers: int) -> None:
    """Start one system beside running services: its twin unless it is set, its domains, delivery and source."""
    start = Start(services, [system], twins=True, workers=workers)
    start.start_workers([])
    start.start_deliveries()
    start.start_sources()
