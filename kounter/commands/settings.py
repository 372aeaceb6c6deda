"""``kounter settings``: every setting, its variable, value and meaning; ``--markdown`` makes docs/settings.md."""

from __future__ import annotations

import ast
import difflib
import inspect
import itertools
import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin

import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import DotEnvSettingsSource
from rich.text import Text

from kounter.settings import Settings, load
from kounter.terminal import grid, put

PREFIX: Final = "KOUNTER"
MASK: Final = "****"
BY_PLATFORM: Final = "by platform"
HEAD: Final = """\
# Settings

Every setting is an environment variable, or a line of the file `.env` in the folder of the start. Lists and tables are
written as JSON. `kounter settings` shows what is set now; a misspelt variable is told of by every command. Secrets are
never shown. Made by `kounter settings --markdown`; do not edit.
"""


NOT_OURS: Final = re.compile("KOUNTER_TEST_.*|KOUNTER.*_(SERVICE_(HOST|PORT.*)|PORT(_[0-9]+_(TCP|UDP).*)?)")
"""Variables of the tests, and those that Kubernetes sets in each pod for a service named kounter."""


class Setting(NamedTuple):
    """A setting and its variable."""

    variable: str
    default: str
    value: str
    """The current value."""
    text: str


def settings(
    markdown: Annotated[bool, typer.Option("--markdown", help="The page of the documentation.")] = False,
) -> None:
    """Print every setting: its variable, its value and its meaning. Secrets are masked."""
    if markdown:
        print(page(), end="")
        return
    table = grid("variable", "value", "meaning")
    for setting in walk(Settings, load()):
        style = "" if setting.value == setting.default else "bold green"
        table.add_row(setting.variable, Text(setting.value, style), Text(setting.text))
    put(table, "variable")


def unknown(names: Iterable[str]) -> list[str]:
    """Returns messages about variables with our prefix that set nothing, each with the name that is probably meant."""
    known = [setting.variable for setting in walk(Settings)]
    found = []
    for name in names:
        variable = name.upper()
        is_ours = any(f"{k}__".startswith(f"{variable}__") or f"{variable}__".startswith(f"{k}__") for k in known)
        if not variable.startswith(f"{PREFIX}_") or is_ours or NOT_OURS.fullmatch(variable):
            continue
        near = difflib.get_close_matches(variable, known, 1)
        found.append(f"{name} sets nothing" + (f"; {near[0]}?" if near else ""))
    return found


def of_dotenv() -> list[str]:
    """Returns the names in the file ``.env``."""
    try:
        return [name.upper() for name in DotEnvSettingsSource(Settings).env_vars]
    except UnicodeDecodeError:  # the loading of the settings reports it
        return []


def page() -> str:
    """Returns the Markdown of all settings; the same on every machine."""
    found: dict[str, list[str]] = {}
    for setting in walk(Settings):
        part = (
            setting.variable.removeprefix(f"{PREFIX}_").partition("__")[0].lower() if "__" in setting.variable else ""
        )
        default = f"`{setting.default}`" if setting.default else ""
        row = f"| `{setting.variable}` | {default} | {setting.text.replace('|', chr(92) + '|')} |\n"
        found.setdefault(part, []).append(row)
    texts = {name: _meaning(field.annotation) for name, field in Settings.model_fields.items()}
    parts = [
        (f"\n## {part}\n\n{texts[part]}\n" if part else "")
        + "\n| variable | default | meaning |\n|---|---|---|\n"
        + "".join(rows)
        for part, rows in found.items()
    ]
    return HEAD + "".join(parts)


def walk(model: type[BaseModel], values: BaseModel | None = None, prefix: str = f"{PREFIX}_") -> Iterator[Setting]:
    """Returns the settings of a model, those of nested parts last."""
    nested: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            nested.append((name, field.annotation))
            continue
        default = BY_PLATFORM if field.default_factory else show(field.default)
        value = default if values is None else show(getattr(values, name))
        yield Setting(prefix + name.upper(), default, value, _text(model, name, field))
    for name, part in nested:
        yield from walk(part, None if values is None else getattr(values, name), f"{prefix}{name.upper()}__")


def show(value: Any) -> str:
    """Returns a value as one would set it, without secrets."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | set | frozenset):
        items = [item if isinstance(item, int | float) else show(item) for item in value]
        return json.dumps(items, ensure_ascii=False) if items else ""
    if isinstance(value, dict):
        return json.dumps({show(name): show(item) for name, item in value.items()}, ensure_ascii=False)
    return re.sub(r"//[^/\s]*@", f"//{MASK}@", str(getattr(value, "value", value)))


def _text(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    text = field.description or _docstrings(model).get(name, "")
    if choices := [f"`{choice}`" for choice in _choices(field.annotation)]:
        text = f"{text} One of {', '.join(choices)}.".strip()
    if _is_secret(field.annotation):
        text = f"{text} Secret.".strip()
    return text.replace("``", "`")


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for part in get_args(annotation) for choice in _choices(part)]


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


def _meaning(model: Any) -> str:
    return " ".join((inspect.getdoc(model) or "").partition("\n\n")[0].split())


@cache
def _docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Returns the text under each field. Pydantic's ``use_attribute_docstrings`` would have to be set in every part."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and not base.__module__.startswith("pydantic"):
            (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(definition, ast.ClassDef)
            for field, after in itertools.pairwise(definition.body):
                match field, after:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        found[name] = " ".join(text.split())
    return found
