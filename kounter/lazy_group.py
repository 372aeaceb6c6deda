"""The group of all commands: names and texts come from the sources, and a module is imported when it is called.

Importing all of them takes Kafka's client, Faust, FastAPI and the twins: over a second of CPU before a help text.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from kounter import commands

RUN, READ = "Run", "Read"
PANELS: Final[dict[str, tuple[str, ...]]] = {
    RUN: (
        "demo",
        "up",
        "worker",
        "deliver",
        "gateway",
        "watch",
        "nest",
        "twins",
        "rebuild",
        "feed",
        "rosdomofon",
        "offsets",
    ),
    READ: (
        "status",
        "lag",
        "jobs",
        "state",
        "timeline",
        "replay",
        "audit",
        "settings",
        "adopt",
        "topics",
        "dead-letters",
        "parked",
        "schemas",
    ),
}
"""Names of commands by the panel of `kounter --help`. Each is a function of its module's name there, or its ``app``."""


class LazyGroup(TyperGroup):
    """Holds a stand-in for each command until that command is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {
            name: TyperCommand(name, rich_help_panel=panel, rich_markup_mode=self.rich_markup_mode)
            for panel, names in PANELS.items()
            for name in names
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
    module = importlib.import_module(f"{commands.__name__}.{_module(name)}")
    alone = typer.Typer(rich_markup_mode="markdown", add_completion=False)
    if group := getattr(module, "app", None):
        alone.add_typer(group, name=name)
    else:
        alone.command(name)(getattr(module, _module(name)))
    return typer.main.get_group(alone).commands[name]


def help_of(name: str) -> str:
    """Returns the command's text as its source has it: the function's docstring, or ``help`` of the module's app."""
    source = Path(commands.__path__[0], f"{_module(name)}.py").read_text("utf-8")
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=function) if function == _module(name):
                return inspect.cleandoc(ast.get_docstring(node) or "")
            case ast.Assign(targets=[ast.Name(id="app")], value=ast.Call(keywords=options)):
                return "".join(ast.literal_eval(option.value) for option in options if option.arg == "help")
    return ""


def _module(name: str) -> str:
    return name.replace("-", "_")
