"""Kounter with the throw-away domain and system: ``python -m tests.support.throwaway <arguments of kounter>``.

``worker`` is a worker process of the domain; ``ask <command>…`` runs several commands and prints the outputs as JSON.
"""

from __future__ import annotations

import json
import sys

from kounter import connectors
from streams.domains import DOMAINS
from tests.support.throwaway.connector import POST
from tests.support.throwaway.domain import PARCEL


def add() -> None:
    """The two lines that a newcomer adds."""
    DOMAINS[PARCEL.name] = PARCEL
    connectors.CONNECTORS = (*connectors.CONNECTORS, POST)


def main(arguments: list[str]) -> None:
    """Run it. The commands are imported here, as they look into the tables when they are."""
    add()
    match arguments:
        case ["worker"]:
            from kounter import worker

            worker.main(PARCEL.name, 0)
        case ["ask", *commands]:
            from typer.testing import CliRunner

            from kounter.cli import app

            answers = {command: CliRunner().invoke(app, command.split()).stdout for command in commands}
            print(json.dumps(answers))
        case _:
            from kounter.__main__ import run

            run()


if __name__ == "__main__":
    main(sys.argv[1:])
