"""``kounter rebuild``: folds a domain again from the start, into new tables."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Annotated

import typer

from kounter.connect import connected_settings
from kounter.connectors import CONNECTORS, context_of, groups, sinks
from kounter.embedded.runfile import RunFile
from kounter.settings import Settings
from kounter.terminal import screen
from schemas.errors import BrokenSetup
from streams.aggregate import Domain
from streams.domains import DOMAINS
from streams.group_reset import GroupBusy, Resetter
from streams.kafka.settings import KafkaSettings


def rebuild(
    domain: Annotated[str, typer.Argument(help="The domain, e.g. estate.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be deleted.")] = False,
) -> None:
    """Fold a domain again from the start, for example after a rule was fixed.

    Its changelog, its group's offsets and this data folder's local copies are deleted; the topics stay as they are.

    Its workers, its deliveries and the gateway must be stopped: `kounter up --only kafka,registry` runs none of them.
    """
    if domain not in DOMAINS:
        raise BrokenSetup(f"no domain {domain!r}", hint=f"There are: {', '.join(DOMAINS)}.")
    settings = connected_settings()
    of = DOMAINS[domain]
    copies = [*sorted((settings.data_dir / "workers").glob(f"*/{domain}")), settings.data_dir / "view"]
    copies = [path for path in copies if path.exists()]
    if RunFile(settings.data_dir).get("gateway"):
        raise GroupBusy("the gateway runs, which holds the view open", hint="Stop it, then try again.")
    for process in _answering(of, settings):
        if RunFile(settings.data_dir).get(process):
            raise GroupBusy(f"{process} runs, which would send all answers again", hint="Stop it, then try again.")
    asyncio.run(_run(settings.kafka, domain, dry_run=True))
    console = screen()
    for line in (f"group {domain}: its offsets", f"topic {of.changelog}: created again", *map(str, copies)):
        console.print(f"{'would be' if dry_run else 'will be'} deleted: {line}", markup=False)
    if dry_run:
        return
    if not yes:
        typer.confirm("All of it is folded again. Go on?", abort=True)
    asyncio.run(_run(settings.kafka, domain, dry_run=False))
    _drop(copies)
    console.print(f"Done. On other machines, delete workers/*/{domain} and view in the data folder too.", markup=False)
    console.print(f"Next: kounter worker --domain {domain}, until `kounter lag` shows nothing behind.", markup=False)
    for group, topic in said_by(of, settings).items():
        console.print(f"Then, before it runs again: kounter offsets set {group} {topic} latest", markup=False)


def said_by(domain: Domain, settings: Settings) -> dict[str, str]:
    """Returns the groups that send a domain's records to outside systems, with the topic of each: all its records would
    be sent again."""
    read = groups(settings).items()
    return {group: topic for group, topics in read for topic in topics if topic in domain.outboxes}


def _answering(domain: Domain, settings: Settings) -> list[str]:
    """The processes of sources that send a domain's records to outside systems."""
    context, written = context_of(settings), set(domain.outboxes)
    sources = (connector.source for connector in CONNECTORS if connector.source)
    return [s.process for s in sources for topics in s.groups(context).values() if written & set(topics)]


async def _run(kafka: KafkaSettings, domain: str, *, dry_run: bool) -> None:
    async with Resetter(kafka, sinks()) as resetter:
        if dry_run:
            await resetter.check_idle(domain, *resetter.deliveries_of(DOMAINS[domain]))
        else:
            await resetter.rebuild(DOMAINS[domain])


def _drop(copies: list[Path]) -> None:
    for path in copies:
        shutil.rmtree(path)
