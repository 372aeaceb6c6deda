"""``python -m tests.chaos``: the long run; see README.md beside this."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from loguru import logger

from tests.chaos.course import Course
from tests.chaos.faults import FULL, SHORT


def main(
    brokers: Annotated[int, typer.Option(help="3: replication 3, one broker is killed at a time.")] = 1,
    seed: Annotated[int, typer.Option(help="Of workload and faults.")] = 1,
    rate: Annotated[float, typer.Option(help="Records a second.")] = 500,
    short: Annotated[bool, typer.Option(help="Each kind of fault once.")] = False,
    standby: Annotated[int, typer.Option(help="Standby replicas at the start.")] = 0,
    keep: Annotated[Path | None, typer.Option(help="Keep logs and data in this folder.")] = None,
) -> None:
    """Break things while records flow, then compare every table, output and local store with a plain fold.

    The last line is one JSON object; leaves with 1 if anything was lost, doubled or misordered.
    """
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a dying broker is what this is about
    with tempfile.TemporaryDirectory() as temporary:
        folder = keep or Path(temporary)
        plan = SHORT if short else FULL
        course = Course(folder, plan, brokers=brokers, rate=rate, seed=seed, standby=standby, say=print)
        result, verdict = asyncio.run(course.run())
    print(json.dumps(result._asdict()))
    raise typer.Exit(1 if verdict.bad() or result.lost else 0)


if __name__ == "__main__":
    typer.run(main)
