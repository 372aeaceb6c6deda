"""What Kounter writes is for whoever runs it: states, logs and the view hold people's names and phones."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from kounter import cli
from tables.layout import layout
from tables.view import View


@pytest.fixture
def open_mask() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_mask")
def test_others_can_not_read_what_a_command_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "data"

    def command() -> None:
        View(folder / "view" / "view.sqlite", {"estate.lead": layout("estate.lead")}).close()

    monkeypatch.setattr(cli, "app", command)
    cli.main()
    found = [folder, *folder.rglob("*")]
    assert len(found) > 3
    assert not [path for path in found if stat.S_IMODE(path.stat().st_mode) & 0o077]


@pytest.mark.usefixtures("open_mask")
def test_a_stricter_mask_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    os.umask(0o177)
    monkeypatch.setattr(cli, "app", lambda: None)
    cli.main()
    assert os.umask(0) == 0o177
