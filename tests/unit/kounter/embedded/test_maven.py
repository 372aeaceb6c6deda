"""A download that was interrupted is never taken for a whole file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jgo.maven._resolver import PythonResolver

from kounter.embedded.maven import Downloads


@pytest.fixture
def artifact(tmp_path: Path) -> Any:
    return SimpleNamespace(cached_path=tmp_path / "kafka.jar")


def test_what_a_killed_start_was_writing_is_removed(tmp_path: Path) -> None:
    half, whole, note = tmp_path / "half.jar", tmp_path / "whole.jar", tmp_path / "note"
    half.write_bytes(b"ha")
    whole.write_bytes(b"whole")
    note.write_text(str(half))
    Downloads(note, lambda count: None)
    assert (half.exists(), whole.exists(), note.exists()) == (False, True, False)
    Downloads(note, lambda count: None)


def test_a_start_that_was_killed_before_it_had_noted_anything(tmp_path: Path) -> None:
    note = tmp_path / "note"
    note.write_text("")
    Downloads(note, lambda count: None)
    assert not note.exists()


def test_the_file_is_noted_while_it_is_written(tmp_path: Path, artifact: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "note"

    def download(self: Downloads, artifact: Any) -> Path:
        assert note.read_text() == str(artifact.cached_path)
        artifact.cached_path.write_bytes(b"whole")
        return Path(artifact.cached_path)

    monkeypatch.setattr(PythonResolver, "download", download)
    assert Downloads(note, lambda count: None).download(artifact) == artifact.cached_path
    assert artifact.cached_path.read_bytes() == b"whole"
    assert not note.exists()


def test_a_failed_download_leaves_no_file(tmp_path: Path, artifact: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(self: Downloads, artifact: Any) -> Path:
        artifact.cached_path.write_bytes(b"ha")
        raise ConnectionError("reset")

    monkeypatch.setattr(PythonResolver, "download", download)
    with pytest.raises(ConnectionError):
        Downloads(tmp_path / "note", lambda count: None).download(artifact)
    assert list(tmp_path.iterdir()) == []
