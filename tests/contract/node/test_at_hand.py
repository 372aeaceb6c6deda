"""Without Node.js, npm or a registry, the tests of this folder are skipped with the reason."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from tests.support.systems.node import Node, NodeError, NotAtHand, installed


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with programs; the cache is empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return folder


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_no_node(programs: Path) -> None:
    with pytest.raises(NotAtHand, match=r"^Node.js 18 or newer with npm is not at hand$"):
        installed()


@pytest.mark.parametrize("said", ["v16.20.2", ""])
def test_an_old_node(programs: Path, said: str) -> None:
    put(programs, "node", f"echo {said}")
    put(programs, "npm", "exit 1")
    with pytest.raises(NotAtHand, match=r"Node.js 18 or newer is not at hand, but (v16.20.2|one without)"):
        installed()


def test_an_npm_without_a_registry(programs: Path) -> None:
    put(programs, "node", "echo v18.0.0")
    put(programs, "npm", "echo 'npm error code ENOTFOUND' >&2; exit 1")
    with pytest.raises(NotAtHand, match=r"packages of Node.js are not at hand: npm error code ENOTFOUND"):
        installed()
    assert list((programs.parent / "cache" / "kounter" / "node-tests").iterdir()) == []


def test_packages_are_installed_once(programs: Path) -> None:
    put(programs, "node", "echo v22.1.0")
    put(programs, "npm", ': > node_modules; test "$1" = ci')
    modules = installed().modules
    assert modules.exists()
    put(programs, "npm", "exit 1")
    assert installed().modules == modules


async def test_a_process_that_ends_is_reported(programs: Path, tmp_path: Path) -> None:
    put(programs, "node", "echo v22.1.0")
    put(programs, "npm", ": > node_modules")
    found = installed()
    put(programs, "node", "echo 'no such module' >&2; read line")
    process = Node(found, tmp_path / "stderr.txt")
    try:
        with pytest.raises(NodeError, match="no such module"):
            await process.ask("anything")
        with pytest.raises(NodeError, match="no such module"):
            await process.ask("anything")
    finally:
        process.close()
