"""``kounter up``: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Final

import typer

from kounter.commands.rosdomofon import TWIN_COMPANY
from kounter.commands.settings import show
from kounter.embedded.disk import shortage
from kounter.settings import Settings, load
from kounter.sockets import bind
from kounter.supervisor import Services
from kounter.terminal import screen, shown
from schemas.errors import InvalidInput
from streams.domains import DOMAINS

OPERATED: Final = "domofon"
"""The domain that only runs where there is an operator."""
OTHERS: Final = tuple(name for name in DOMAINS if name != OPERATED)
console = screen()
EXIT_INTERRUPTED: Final = 130
ANSWER: Final = "Ваше сообщение получено, оператор ответит здесь."


def up(
    twins: Annotated[bool, typer.Option(help="Also the outside systems' twins, and the feed from theirs.")] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes of each domain.")] = None,
    only: Annotated[
        str | None, typer.Option(metavar="kafka,registry", help="These alone, such as for `kounter rebuild`.")
    ] = None,
) -> None:
    """Start Kafka and registry (unless outside ones are set), workers, delivery and gateway.

    One line a service; their logs are files. Ctrl-C stops all; nothing stays behind, not even after a kill -9.
    """
    if only is not None and sorted(only.replace(" ", "").split(",")) != ["kafka", "registry"]:
        raise InvalidInput("only", "kafka,registry, which need each other", only)
    settings = load()
    ended, started = threading.Event(), threading.Event()

    def end(signum: int, _: object) -> None:
        """Once all run, the loop below sees it; while they start, whatever is being waited for is given up."""
        if not ended.is_set() and not started.is_set():
            ended.set()
            raise KeyboardInterrupt
        ended.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, end)
    try:
        with Services(settings, say) as services:
            if only is None:
                _start_rest(services, twins, workers or settings.workers)
            started.set()
            console.print(f"\nlogs: {settings.data_dir / 'logs'}    Ctrl-C stops all")
            _watch(services, ended)
            console.print("stopping")
    except KeyboardInterrupt:
        console.print("stopped before all had started")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _start_rest(services: Services, twins: bool, workers: int) -> None:
    """All that works on Kafka and registry."""
    # Two calls a second, as a portal's limit is, would leave the cards far behind the twin's feed.
    unlimited = {"bitrix24": ["--no-limits"]}
    start_all(services, twins=twins, workers=workers, operator=True, twin_options=unlimited)
    services.start("bridge-nest", "nest")
    services.await_service("bridge-nest")


def _watch(services: Services, ended: threading.Event) -> None:
    """Until told to end; says once of each service that it will not come back."""
    reported: set[str] = set()
    full = False
    while not ended.wait(0.5):
        lack = shortage(services.settings.data_dir)
        if bool(lack) != full:
            full = bool(lack)
            console.print(f"[red]{shown(lack)}[/]" if lack else "[green]there is space on the disk again[/]")
        for name, code, log in services.failed():
            if name not in reported:
                reported.add(name)
                console.print(f"[red]{name} ended for good with {code}[/], see {log}")


def start_all(
    services: Services,
    *,
    twins: bool,
    workers: int,
    feed: bool = True,
    operator: bool = False,
    domains: Sequence[str] = OTHERS,
    twin_options: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> None:
    """All services in their order, each awaited. ``operator``: with the twins also RosDomofon's, and what belongs to
    it. ``domains``: whose workers are started beside the operator's. ``twin_options``: arguments of ``kounter twins``,
    by twin. Raises BrokenSetup if a fixed port is taken."""
    settings = services.settings
    portal = twins or bool(settings.bitrix24.webhook_url.get_secret_value())
    bind(settings.gateway.listen[0], "KOUNTER_GATEWAY__LISTEN").close()  # now, not when all the others have started
    if portal:
        bind(settings.watch.listen, "KOUNTER_WATCH__LISTEN").close()
    if twins:
        for twin in ("bitrix24", "brusnika"):
            services.start(f"twin-{twin}", "twins", twin, *twin_options.get(twin, ()))
    started = [services.start_worker(domain, slot) for domain in domains for slot in range(workers)]
    for name in started:
        services.await_service(name)
    if twins:
        services.await_service("twin-bitrix24")
        services.await_service("twin-brusnika")
    if portal:
        services.start("delivery-bitrix24", "deliver", "bitrix24")
        services.start("watch-bitrix24", "watch", "bitrix24")
        services.await_service("delivery-bitrix24")
    if settings.rosdomofon.named or (twins and operator):
        start_operator(services, twin=not settings.rosdomofon.named, workers=workers)
    services.start("gateway", "gateway")
    services.await_service("gateway")
    if feed and (twins or settings.brusnika.url):
        services.start("feed-brusnika", "feed", "brusnika")
        services.await_service("feed-brusnika")


def start_operator(services: Services, *, twin: bool, workers: int) -> None:
    """What belongs to RosDomofon: its twin, if it is wanted, the workers of its domain, bridge and delivery."""
    if twin:
        services.start("twin-rosdomofon", "twins", "rosdomofon")
    rules = _rules(services.settings)
    started = [services.start_worker(OPERATED, slot, rules) for slot in range(workers)]
    if twin:
        services.await_service("twin-rosdomofon")
    services.start("delivery-rosdomofon", "deliver", "rosdomofon")
    services.start("bridge-rosdomofon", "rosdomofon", "bridge")
    for name in (*started, "delivery-rosdomofon", "bridge-rosdomofon"):
        services.await_service(name)


def _rules(settings: Settings) -> dict[str, str]:
    """The twin's company acknowledges what it is told, unless rules are set."""
    if settings.rosdomofon.named or settings.domofon.acknowledgements:
        return {}
    return {"KOUNTER_DOMOFON__ACKNOWLEDGEMENTS": json.dumps({TWIN_COMPANY: ANSWER})}


def say(name: str, address: str) -> None:
    """A service is ready."""
    console.print(f"[green]✓[/] {name:<18} {show(address)}", highlight=False)
