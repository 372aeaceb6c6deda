"""Builds the parts in C where a compiler is at hand. Without one Kounter is whole too, and its fold a third slower."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGES = ("schemas/codec", "tables")
FORMER = ("schemas",)
"""Where modules stood before: git ignores them, so that they stay in a clone after a pull."""


class NativeBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """``<package>/native.pyx`` to a module beside it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it packs a wheel, and before an editable install."""
        for package in (*FORMER, *PACKAGES):
            for stale in Path(self.root, package).glob("native.*.so*"):
                stale.unlink()
        try:
            build(Path(self.root))
        except (Exception, SystemExit) as error:  # no compiler, no headers of Python: distutils leaves in both ways
            self.app.display_warning(f"no parts in C, all is done in Python: {error}")
            return
        build_data["artifacts"] += [f"{package}/native.*.so*" for package in PACKAGES]
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def build(root: Path) -> None:
    """Compile in place."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    before = Path.cwd()
    os.chdir(root)  # both want relative paths
    try:
        with tempfile.TemporaryDirectory() as folder:
            sources = [
                Extension(f"{package.replace('/', '.')}.native", [f"{package}/native.pyx"]) for package in PACKAGES
            ]
            distribution = Distribution({"ext_modules": cythonize(sources, build_dir=folder, quiet=True)})
            command = distribution.get_command_obj("build_ext")
            command.inplace, command.build_temp, command.build_lib = True, folder, folder
            command.ensure_finalized()
            command.run()
        for package in PACKAGES:
            for built in Path(package).glob("native.*.so"):
                built.with_name(f"{built.name}.sha256").write_text(digest(root, package), "utf-8")
    finally:
        os.chdir(before)


def digest(root: Path, package: str) -> str:
    """Of the sources, as `schemas.codec.compiled` has it: it loads no module that was built from others."""
    found = hashlib.sha256()
    for source in (root / "schemas" / "codec" / "rows.pxd", root / package / "native.pyx"):
        found.update(source.read_bytes())
    return found.hexdigest()
