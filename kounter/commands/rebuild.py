"""``kounter rebuild``: folds a domain again from the start, into new tables."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Annotated

import typer

from adapters.nest import bridge
from kounter.connect import connected_settings
from kounter.embedded.runfile import RunFile
from kounter.terminal import screen
from schemas.errors import BrokenSetup
from streams.aggregate import Domain
from streams.domains import DOMAINS, core_users
from streams.group_reset import GroupBusy, Resetter, deliveries_of
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import group_of
from streams.topology import CHANNELS


def rebuild(
    domain: Annotated[str, typer.Argument(help="Whose tables are made anew, e.g. estate.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Fold a domain again from the start, such as after a mended rule: its changelog, its group's offsets and this data
    folder's local copies are deleted; the topics stay as they are.

    Its workers, its deliveries and the gateway must be stopped: `kounter up --only kafka,registry` runs none of them.
    """
    if domain not in DOMAINS:
        raise BrokenSetup(f"no domain {domain!r}", hint=f"There are: {', '.join(DOMAINS)}.")
    settings = connected_settings()
    of = DOMAINS[domain]
    copies = [*sorted((settings.data_dir / "workers").glob(f"*/{domain}")), settings.data_dir / "view"]
    copies = [path for path in copies if path.exists()]
    if RunFile(settings.data_dir).get("gateway"):
        raise GroupBusy("the gateway runs, which holds the view open", hint="Stop it, then ask again.")
    if bridge.GROUP in said_by(of) and RunFile(settings.data_dir).get("bridge-nest"):
        raise GroupBusy("kounter nest runs, which would answer all messages once more", hint="Stop it, then ask again.")
    asyncio.run(_run(settings.kafka, domain, dry_run=True))
    console = screen()
    for line in (f"group {domain}: its offsets", f"topic {of.changelog}: made anew", *map(str, copies)):
        console.print(f"{'would be' if dry_run else 'will be'} deleted: {line}", markup=False)
    if dry_run:
        return
    if not yes:
        typer.confirm("All of it is folded again. Go on?", abort=True)
    asyncio.run(_run(settings.kafka, domain, dry_run=False))
    _drop(copies)
    console.print(f"Done. On other machines, delete workers/*/{domain} and view in the data folder too.", markup=False)
    console.print(f"Next: kounter worker --domain {domain}, until `kounter lag` shows nothing behind.", markup=False)
    for group, topic in said_by(of).items():
        console.print(f"Then, before it runs again: kounter offsets set {group} {topic} latest", markup=False)


def said_by(domain: Domain) -> dict[str, str]:
    """Groups that say outside what the domain writes, with the topic of that: all of it would be said once more."""
    groups = {group_of(channel): topic for channel, topic in CHANNELS.items()} | {bridge.GROUP: core_users.REPLIES}
    return {group: topic for group, topic in groups.items() if topic in domain.outboxes}


async def _run(kafka: KafkaSettings, domain: str, *, dry_run: bool) -> None:
    async with Resetter(kafka) as resetter:
        if dry_run:
            await resetter.check_idle(domain, *deliveries_of(DOMAINS[domain]))
        else:
            await resetter.rebuild(DOMAINS[domain])


def _drop(copies: list[Path]) -> None:
    for path in copies:
        shutil.rmtree(path)
