"""The command line: every command is a module of `kounter.commands`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import typer
from aiokafka.errors import KafkaError

from kounter import unexpected
from kounter.commands import (
    adopt,
    audit,
    dead_letters,
    deliver,
    demo,
    feed,
    gateway,
    jobs,
    lag,
    nest,
    offsets,
    parked,
    rebuild,
    replay,
    rosdomofon,
    schemas,
    settings,
    state,
    status,
    timeline,
    topics,
    twins,
    up,
    watch,
    worker,
)
from kounter.present import screen, shown
from kounter.settings import load
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup, InvalidInput, KounterError

app = typer.Typer(
    help="Kounter keeps one true, replayable history of what happened in a company's systems.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
RUN, READ = "Run", "Read"
PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    RUN: (
        demo.demo,
        up.up,
        worker.worker,
        deliver.deliver,
        gateway.gateway,
        watch.watch,
        nest.nest,
        twins.twins,
        rebuild.rebuild,
    ),
    READ: (
        status.status,
        lag.lag,
        jobs.jobs,
        state.state,
        timeline.timeline,
        replay.replay,
        audit.audit,
        settings.settings,
        adopt.adopt,
    ),
}
MEND = "Mend what is named and ask again; --help tells what each argument and option may be."
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(feed.app, name="feed", rich_help_panel=RUN)
app.add_typer(rosdomofon.app, name="rosdomofon", rich_help_panel=RUN)
app.add_typer(offsets.app, name="offsets", rich_help_panel=RUN)
app.add_typer(topics.app, name="topics", rich_help_panel=READ)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=READ)
app.add_typer(parked.app, name="parked", rich_help_panel=READ)
app.add_typer(schemas.app, name="schemas", rich_help_panel=READ)


@app.callback()
def check_settings(context: typer.Context) -> None:
    """Kounter keeps one true, replayable history of what happened in a company's systems."""
    asks_for_help = {"-h", "--help"} & set(sys.argv)
    if context.invoked_subcommand != "settings" and not asks_for_help:  # the first loads them itself, or need not
        load()


def main() -> None:
    """Run; an error of ours is one line and its hint, never a traceback. What is written is for nobody else to read."""
    os.umask(os.umask(0o077) | 0o077)  # states, view and logs hold people's phones; child processes take it over
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # its errors come as exceptions too
    for said in settings.unknown([*os.environ, *settings.of_dotenv()]):
        print(said, file=sys.stderr)
    try:
        app()
    except InvalidInput as error:  # its own hint is for senders of records
        _fail(error.message, MEND if error.hint == InvalidInput.hint else error.hint)
    except KounterError as error:
        _fail(error.message, error.hint, EXIT_BROKEN_SETUP if isinstance(error, BrokenSetup) else 1)
    except OSError as error:  # a full disk, a folder that is not ours
        _fail(str(error), "See the file or folder, and KOUNTER_DATA_DIR in `kounter settings`.")
    except KafkaError as error:
        _fail(f"Kafka can't be asked: {error}", "See `kounter status`, and KOUNTER_KAFKA__… in `kounter settings`.")
    except Exception as error:
        _fail(*unexpected.explained(error))


def _fail(message: str, hint: str, code: int = 1) -> NoReturn:
    screen(stderr=True).print(f"[red]{shown(message)}[/]\n{shown(hint)}")
    sys.exit(code)
