"""``kounter schemas``: the contracts as Avro, checks of their compatibility, registration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

import schemas as house
import tables
from kounter.connect import connected_settings
from kounter.terminal import grid, put, screen, shown
from schemas.codec.avro import avro_schema
from schemas.codec.compat import incompatibilities
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde, extra_fields, full_name
from schemas.errors import IncompatibleSchema
from schemas.record import Contract, contracts, declare_all
from streams.domains import DOMAINS
from streams.kafka import registry_identity
from tables.layout import committed, layout

LAYOUTS = Path(tables.__path__[0]) / "layouts.json"
COMMITTED = Path(house.__path__[0]) / "avro"
"""Folder of the exported schemas: changes are checked against them without a registry."""

app = typer.Typer(no_args_is_help=True, help="The contracts: list, export, check and register them.")
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


class Finding(NamedTuple):
    """One reason why a schema is not compatible with an earlier one."""

    schema: str
    against: str
    problem: str


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List every record: topics, key, sequence field and its name in the outside system."""
    declare_all()
    if as_json:
        print(json.dumps([_described(c) for c in contracts()], ensure_ascii=False))
        return
    table = grid("record", "topics", "key", "sequence", "fields", "outside")
    for c in contracts():
        count = f"{len(c.fields)}" + (f" ({len(c.personal)} personal)" if c.personal else "")
        table.add_row(c.full_name, ", ".join(c.topics), c.key, c.sequence or "", count, c.outside or "")
    put(table, "record", "key", "sequence")


def _described(c: Contract) -> dict[str, Any]:
    return {
        "record": c.full_name,
        "topics": c.topics,
        "subjects": [c.subject(t) for t in c.topics],
        "key": c.key,
        "sequence": c.sequence,
        "fields": c.fields,
        "personal": sorted(c.personal),
        "outside": c.outside,
    }


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="Where to; by default where the code keeps them.")] = COMMITTED,
) -> None:
    """Write each record's Avro schema to <full name>.avsc, and to our own folder also the order of the fields of each
    state.

    A schema that is not compatible with the existing file is refused, and nothing is written.
    """
    declare_all()
    directory.mkdir(parents=True, exist_ok=True)
    if findings := against_files(directory):
        raise IncompatibleSchema("; ".join(f"{f.schema} can't follow {f.against}: {f.problem}" for f in findings))
    for c in contracts():
        _write(directory / f"{c.full_name}.avsc", exported(c))
    if directory == COMMITTED:
        aggregates = [*committed(), *(a.topic for domain in DOMAINS.values() for a in domain.aggregates)]
        orders = {aggregate: layout(aggregate).fields for aggregate in aggregates}
        _write(LAYOUTS, json.dumps(orders, indent=1, ensure_ascii=False) + "\n")


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")
        print(path)


def exported(c: Contract) -> str:
    """Returns the text of a record's file: the same at every export."""
    return json.dumps(avro_schema(c), indent=2, ensure_ascii=False) + "\n"


@app.command()
def check(
    registry: Annotated[bool, typer.Option("--registry", help="Also against every version in the registry.")] = False,
    as_json: Json = False,
) -> None:
    """Check that all schemas are FULL_TRANSITIVE compatible with the exported files and, if requested, with the
    registry.

    It also names versions in the registry with fields that we don't have: their values are ignored. Exits with 1 if a
    schema is not compatible.
    """
    declare_all()
    findings, foreign = against_files(COMMITTED), list[Finding]()
    if registry:
        found, foreign = asyncio.run(_against_registry())
        findings += found
    if as_json:
        answer: dict[str, Any] = {"compatible": not findings, "findings": [f._asdict() for f in findings]}
        answer |= {"not_ours": [f._asdict() for f in foreign]} if registry else {}
        print(json.dumps(answer, ensure_ascii=False))
    for schema, against, problem in [] if as_json else findings:
        print(f"{schema} can't follow {against}: {problem}")
    for _, against, problem in [] if as_json else foreign:
        print(f"{shown(against)} {shown(problem)}")
    if findings:
        screen(stderr=True).print(f"{len(findings)} reasons why a schema may not follow what was there before")
        raise typer.Exit(1)
    if not as_json:
        print(f"{len(contracts())} schemas may follow what was there before.")


def against_files(directory: Path) -> list[Finding]:
    """Returns the reasons why our schemas are not compatible with the exported ones; a record that is gone is one."""
    ours = {c.full_name: avro_schema(c) for c in contracts()}
    found: list[Finding] = []
    for path in sorted(directory.glob("*.avsc")):
        name = path.stem
        if name not in ours:
            found.append(Finding(name, path.name, "the record is gone, but its history is not"))
            continue
        old = json.loads(path.read_text("utf-8"))
        found += [Finding(name, path.name, problem) for problem in incompatibilities(ours[name], old)]
    return found


async def _against_registry() -> tuple[list[Finding], list[Finding]]:
    """Returns the reasons why our schemas are not compatible with the registry, and versions with fields that we don't
    have."""
    found, foreign = list[Finding](), list[Finding]()
    async with SchemaRegistry(connected_settings().registry) as registry:
        for c in contracts():
            for subject in map(c.subject, c.topics):
                for number, old in (await registry.versions(subject)).items():
                    found += _findings(c, f"version {number} of {subject}", incompatibilities(avro_schema(c), old))
                    if extra := extra_fields(old, c):
                        foreign.append(_passed_over(c, f"version {number} of {subject}", extra))
                said = await registry.compatible(subject, avro_schema(c))
                found += _findings(c, f"what the registry has of {subject}", said)
        foreign += await _by_topic(registry)
    return found, foreign


async def _by_topic(registry: SchemaRegistry) -> list[Finding]:
    """Returns the versions of subjects that other serializers choose, by the topic alone."""
    by_name = {c.full_name: c for c in contracts()}
    topics = {topic for c in contracts() for topic in c.topics}
    found = []
    for subject in sorted({f"{topic}-value" for topic in topics} & set(await registry.subjects())):
        for number, old in (await registry.versions(subject)).items():
            of = by_name.get(full_name(old))
            if of is not None and (extra := extra_fields(old, of)):
                found.append(_passed_over(of, f"version {number} of {subject}", extra))
    return found


def _passed_over(c: Contract, against: str, extra: Sequence[str]) -> Finding:
    return Finding(c.full_name, against, f"has fields that are not ours, which are passed over: {', '.join(extra)}")


def _findings(c: Contract, against: str, problems: list[str]) -> list[Finding]:
    return [Finding(c.full_name, against, problem) for problem in problems]


@app.command()
def register(as_json: Json = False) -> None:
    """Register every record's schema for each of its topics. A schema that is registered keeps its id."""
    declare_all()
    ids = asyncio.run(_register())
    if as_json:
        print(json.dumps(ids))
    for subject, id in [] if as_json else ids.items():
        print(f"{id:>6}  {subject}")


async def _register() -> dict[str, int]:
    settings, topics = connected_settings(), sorted({topic for c in contracts() for topic in c.topics})
    async with SchemaRegistry(settings.registry) as registry:
        await registry_identity.check(settings.kafka, registry, topics)
        return await Serde(registry).prepare(topics)
