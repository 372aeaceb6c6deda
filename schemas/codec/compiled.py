"""The modules in C, None where Kounter was installed without a compiler (`hatch_build.py`)."""

from __future__ import annotations

import hashlib
import importlib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

__all__ = ["load_native", "native"]

ROOT: Final = Path(__file__).parents[2]


def load_native(package: str, root: Path = ROOT) -> Any:
    """Returns the module; None if it was not built, or was built from other sources than those beside it: new code must
    not work with old modules, as after `git pull` without `make`."""
    folder = root / package.replace(".", "/")
    built = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f"native{suffix}").exists()]
    if not built:
        return None
    if not _is_of_these_sources(built[0], root, package):
        logger.warning(
            "{} was built from other sources than those beside it: its work is done in Python, at a third more CPU. "
            "Run `make`, or install Kounter anew",
            built[0],
        )
        return None
    try:
        return importlib.import_module(f"{package}.native")
    except ImportError:
        return None


def _is_of_these_sources(built: Path, root: Path, package: str) -> bool:
    found = hashlib.sha256()
    try:
        for source in (root / "schemas/codec/rows.pxd", root / package.replace(".", "/") / "native.pyx"):
            found.update(source.read_bytes())
    except OSError:  # installed without sources: nothing can have changed since
        return True
    try:
        return built.with_name(f"{built.name}.sha256").read_text("utf-8").strip() == found.hexdigest()
    except OSError:
        return False


if TYPE_CHECKING:
    from schemas.codec import native
else:
    native = load_native("schemas.codec")
