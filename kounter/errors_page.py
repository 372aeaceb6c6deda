"""The page of all errors, made from the classes: ``python -m kounter.errors_page > docs/errors.md``."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Final

from schemas.errors import KounterError

PACKAGES: Final = ("schemas", "tables", "streams", "adapters", "kounter")
HEAD: Final = """\
# Errors

Every error of Kounter has a `code`, which is stable and for programs, and a hint for the person who must act. They are
the same on the command line, in the JSON of the gateway and in the headers of a dead letter. An indented error is a
kind of the one above it. Made by `python -m kounter.errors_page`; do not edit.

| code | what it means | what to do |
|---|---|---|
"""


def errors_page() -> str:
    """Returns the Markdown page."""
    import_all()
    return HEAD + "".join(_row(error, depth) for error, depth in tree(KounterError))


def import_all() -> None:
    """Import every one of our modules, so that all subclasses are known."""
    for package in PACKAGES:
        found = importlib.import_module(package)
        for module in pkgutil.walk_packages(found.__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def tree(root: type[KounterError], depth: int = 0) -> Iterator[tuple[type[KounterError], int]]:
    """Returns the error and all subclasses that have their own code, a parent before its children, those by code."""
    if "code" in vars(root):
        yield root, depth
    ours = [error for error in root.__subclasses__() if error.__module__.partition(".")[0] in PACKAGES]
    for error in sorted(ours, key=lambda error: (error.code, error.__name__)):
        yield from tree(error, depth + 1)


def _row(error: type[KounterError], depth: int) -> str:
    meaning = " ".join((inspect.getdoc(error) or "").partition("\n\n")[0].split())
    indent = "&nbsp;&nbsp;" * max(0, depth - 1)
    return f"| {indent}`{error.code}` | {_cell(meaning)} | {_cell(error.hint)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(errors_page(), end="")
