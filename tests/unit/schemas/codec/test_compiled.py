"""Parts in C that were built from other sources are never used."""

from __future__ import annotations

import importlib.util
import shutil
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from schemas.codec import compiled
from schemas.codec.compiled import ROOT, load_native

BUILT = (f"native{EXTENSION_SUFFIXES[0]}", f"native{EXTENSION_SUFFIXES[0]}.sha256")


def build_hook() -> Any:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["schemas.codec", "tables"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str, Path]:
    """Sources, a module that was built from them, and its mark; nothing is really loaded."""
    package = request.param
    folder = package.replace(".", "/")
    for name in ("schemas/codec/rows.pxd", f"{folder}/native.pyx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    built = tmp_path / folder / f"native{EXTENSION_SUFFIXES[0]}"
    built.write_bytes(b"")
    mark = built.with_name(f"{built.name}.sha256")
    mark.write_text(build_hook().digest(tmp_path, folder))
    monkeypatch.setattr(compiled.importlib, "import_module", lambda name: name)
    return tmp_path, package, mark


def load(root: Path, package: str) -> tuple[Any, list[str]]:
    said = list[str]()
    sink = logger.add(lambda line: said.append(str(line)), level="WARNING", format="{message}")
    try:
        return load_native(package, root), said
    finally:
        logger.remove(sink)


def test_of_these_sources_it_is_used(tree: tuple[Path, str, Path]) -> None:
    root, package, _ = tree
    assert load(root, package) == (f"{package}.native", [])


@pytest.mark.parametrize("changed", ["native.pyx", "rows.pxd"])
def test_of_other_sources_it_is_not_and_make_is_named(tree: tuple[Path, str, Path], changed: str) -> None:
    root, package, _ = tree
    source = root / ("schemas/codec" if changed == "rows.pxd" else package.replace(".", "/")) / changed
    source.write_text(source.read_text() + "# pulled\n")
    found, said = load(root, package)
    assert found is None
    assert len(said) == 1
    assert "make" in said[0]
    assert package.replace(".", "/") in said[0]


def test_of_unknown_sources_it_is_not(tree: tuple[Path, str, Path]) -> None:
    root, package, mark = tree
    mark.unlink()
    found, said = load(root, package)
    assert found is None
    assert len(said) == 1


def test_installed_without_sources_it_is_used(tree: tuple[Path, str, Path]) -> None:
    root, package, mark = tree
    (root / package.replace(".", "/") / "native.pyx").unlink()
    mark.unlink()
    assert load(root, package) == (f"{package}.native", [])


def test_not_built_is_no_fault(tree: tuple[Path, str, Path]) -> None:
    root, package, _ = tree
    for built in (root / package.replace(".", "/")).glob("native.*so"):
        built.unlink()
    assert load(root, package) == (None, [])


def test_a_build_removes_modules_of_this_and_of_the_former_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone from before `schemas/codec` keeps `schemas/native*.so`, which git ignores and no pull removes."""
    hook = build_hook()
    stale = [tmp_path / folder / name for folder in ("schemas", "schemas/codec", "tables") for name in BUILT]
    kept = [tmp_path / "schemas" / "native.pyx", tmp_path / "schemas" / "codec" / "native.pyi"]
    for file in (*stale, *kept):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.setattr(hook, "build", lambda root: None)
    data: dict[str, Any] = {"artifacts": []}
    nothing: Any = None
    hook.NativeBuildHook(str(tmp_path), {}, nothing, nothing, str(tmp_path), "wheel").initialize("editable", data)
    assert [file for file in stale if file.exists()] == []
    assert all(file.exists() for file in kept)
    assert data["artifacts"] == ["schemas/codec/native.*.so*", "tables/native.*.so*"]
