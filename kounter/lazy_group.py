"""The group of all commands: names and texts come from the sources, and a module is imported when it is called.

Importing all of them takes Kafka's client, Faust, FastAPI and the twins: over a second of CPU before a help text.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from kounter import commands


class Place(NamedTuple):
    """The source of a command."""

    module: str
    """Module below `kounter.commands`."""
    panel: str
    """Panel of `kounter --help`; empty for a hidden command."""


def _places(panel: str, modules: dict[str, str]) -> dict[str, Place]:
    """The places of commands, by name: ``modules`` maps a package to the names in it."""
    package_of = ((package, name) for package, names in modules.items() for name in names.split())
    return {name: Place(f"{package}{name.replace('-', '_')}", panel) for package, name in package_of}


HIDDEN: Final = {"watch": Place("source", ""), "nest": Place("source", "")}
"""Names of earlier versions: functions of the module that has the command now."""
PLACES: Final[dict[str, Place]] = {
    **_places("Run", {"": "demo up worker deliver source gateway backend twins rosdomofon"}),
    **_places(
        "Read",
        {"": "status lag jobs topics schemas settings", "history.": "state timeline replay", "repair.": "audit"},
    ),
    **_places("Repair", {"repair.": "parked waiting dead-letters offsets rebuild adopt", "": "feed"}),
    **HIDDEN,
}
"""The commands. Each is a function with its name in its module, or the module's ``app``."""


class LazyGroup(TyperGroup):
    """Holds a stand-in for each command until that command is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        mode = self.rich_markup_mode
        self.commands = {
            name: TyperCommand(name, rich_help_panel=panel, rich_markup_mode=mode, hidden=not panel)
            for name, (_, panel) in PLACES.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Returns name, command and the arguments left; imports the module of the command."""
        if args and args[0] in self.commands:
            self.commands[args[0]] = load_command(args[0])
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help; imports no command."""
        for name, command in self.commands.items():
            command.help = command.help or help_of(name)
        super().format_help(ctx, formatter)


def load_command(name: str) -> Any:
    """Returns the command or group of commands; imports its module."""
    module = importlib.import_module(f"{commands.__name__}.{PLACES[name].module}")
    alone = typer.Typer(rich_markup_mode="markdown", add_completion=False)
    if group := getattr(module, "app", None):
        alone.add_typer(group, name=name)
    else:
        alone.command(name)(getattr(module, _function(name)))
    return typer.main.get_group(alone).commands[name]


def help_of(name: str) -> str:
    """Returns the command's text as its source has it: the function's docstring, or ``help`` of the module's app."""
    source = Path(commands.__path__[0], *PLACES[name].module.split(".")).with_suffix(".py").read_text("utf-8")
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=function) if function == _function(name):
                return inspect.cleandoc(ast.get_docstring(node) or "")
            case ast.Assign(targets=[ast.Name(id="app")], value=ast.Call(keywords=options)):
                return "".join(ast.literal_eval(option.value) for option in options if option.arg == "help")
    return ""


def _function(name: str) -> str:
    return name.replace("-", "_")
