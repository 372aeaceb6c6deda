"""The command line: every command is a module of `kounter.commands`, imported when it is called."""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

import typer

from kounter import unexpected
from kounter.commands import settings
from kounter.lazy_group import LazyGroup
from kounter.settings import load
from kounter.terminal import screen, shown
from schemas.errors import EXIT_BROKEN_SETUP, BrokenSetup, InvalidInput, KounterError

app = typer.Typer(
    cls=LazyGroup,
    help="Kounter keeps one true, replayable history of what happened in a company's systems.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
FIX = "Fix what is named and try again; --help describes each argument and option."


@app.callback()
def check_settings(context: typer.Context) -> None:
    """Kounter keeps one true, replayable history of what happened in a company's systems."""
    asks_for_help = {"-h", "--help"} & set(sys.argv)
    if context.invoked_subcommand != "settings" and not asks_for_help:  # the first loads them itself, or need not
        load()


def main() -> None:
    """Run the command line. Our errors are one line and a hint, never a traceback. Written files are readable for their
    owner only."""
    os.umask(os.umask(0o077) | 0o077)  # states, view and logs hold people's phones; child processes take it over
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # its errors come as exceptions too
    for said in settings.unknown([*os.environ, *settings.of_dotenv()]):
        print(said, file=sys.stderr)
    try:
        app()
    except InvalidInput as error:  # its own hint is for producers of records
        _fail(error.message, FIX if error.hint == InvalidInput.hint else error.hint)
    except KounterError as error:
        _fail(error.message, error.hint, EXIT_BROKEN_SETUP if isinstance(error, BrokenSetup) else 1)
    except OSError as error:  # a full disk, a folder that is not ours
        _fail(str(error), "See the file or folder, and KOUNTER_DATA_DIR in `kounter settings`.")
    except ImportError:  # a command's module, imported just now: `kounter.__main__` says what to do
        raise
    except Exception as error:
        kafka = sys.modules.get("aiokafka.errors")  # only a command that has loaded it raises its errors
        if kafka is None or not isinstance(error, kafka.KafkaError):
            _fail(*unexpected.explained(error))
        _fail(f"Kafka can't be asked: {error}", "See `kounter status`, and KOUNTER_KAFKA__… in `kounter settings`.")


def _fail(message: str, hint: str, code: int = 1) -> NoReturn:
    screen(stderr=True).print(f"[red]{shown(message)}[/]\n{shown(hint)}")
    sys.exit(code)
