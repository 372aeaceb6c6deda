"""``kounter rosdomofon``: the abonents of the operator's twin."""

from __future__ import annotations

import re
from typing import Annotated

import httpx
import typer

from adapters.rosdomofon.connector import ROSDOMOFON
from kounter.connectors import TWIN
from kounter.embedded.runfile import RunFile
from kounter.settings import load
from schemas.errors import BrokenSetup

app = typer.Typer(no_args_is_help=True, help="The intercom operator RosDomofon.")


@app.command(hidden=True)
def bridge() -> None:
    """Run `kounter source rosdomofon`; the name of an earlier version."""
    from kounter.commands.source import run_source

    run_source(ROSDOMOFON.name)


@app.command()
def say(
    abonent: Annotated[str, typer.Argument(help="A phone as 79131234567, or the id of a known abonent.")],
    text: Annotated[str, typer.Argument(help="The message.")],
) -> None:
    """Let an abonent of the running twin write to the company, as from the operator's app."""
    twin = RunFile(load().data_dir).get(TWIN + ROSDOMOFON.name)
    if twin is None:
        raise BrokenSetup("no RosDomofon twin runs", hint="Start `kounter up --twins` or `kounter twins rosdomofon`.")
    who = {"phone": int(abonent)} if re.fullmatch(r"7[0-9]{10}", abonent) else {"abonent_id": abonent}
    answer = httpx.post(f"{twin.address}/_twin/say", json={**who, "text": text}, trust_env=False)
    if answer.status_code != httpx.codes.OK:
        raise BrokenSetup(f"the twin refuses: {answer.text.strip()}", hint="Name a phone as 79131234567.")
    said = answer.json()
    print(f"abonent {said['abonent_id']} at {said['place']}")
