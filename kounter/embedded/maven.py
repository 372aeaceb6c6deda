"""Downloads by jgo from Maven Central, made safe to interrupt. Imported at the first start only: jgo loads slowly."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import jgo
from jgo.config import GlobalSettings
from jgo.maven import MavenContext
from jgo.maven._core import Artifact
from jgo.maven._resolver import PythonResolver

OnBytes = Callable[[int], None]


class Downloads(PythonResolver):
    """Resolver that notes the file being written. jgo writes a download under its final name and takes any file of that
    name for whole, so ``note`` names it, and the next start removes it if this one is killed."""

    def __init__(self, note: Path, on_bytes: OnBytes) -> None:
        super().__init__(progress_callback=self._progress)
        self._note, self._on_bytes = note, on_bytes
        if note.exists():
            if noted := note.read_text("utf-8"):  # killed between the two steps of writing it, it is empty
                Path(noted).unlink(missing_ok=True)
            note.unlink()

    def download(self, artifact: Artifact) -> Path | None:
        """Returns the artifact's file. Raises errors of `requests`, and RuntimeError if no repository has it."""
        target = artifact.cached_path
        assert target is not None  # our contexts have a local repository
        self._note.write_text(str(target), "utf-8")
        try:
            return super().download(artifact)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        finally:
            self._note.unlink()

    @contextmanager
    def _progress(self, filename: str, total: int) -> Iterator[OnBytes]:
        yield self._on_bytes


Coordinates = tuple[str, str, str]
"""Group, name and version of an artifact."""


def resolve(
    kafka: str, log: Coordinates, registry: Coordinates, workspace: Path, on_bytes: OnBytes
) -> tuple[list[Path], Path]:
    """Returns Kafka's jars, with that of its log, and the registry's archive; ``workspace`` is jgo's until the jars
    have been copied from it."""
    shutil.rmtree(workspace, ignore_errors=True)  # jgo would trust what an interrupted start linked there
    downloads = Downloads(workspace.with_suffix(".downloading"), on_bytes)
    environment = jgo.build(kafka, cache_dir=workspace, resolver=downloads)
    jars = [jar for folder in ("jars", "modules") for jar in sorted((environment.path / folder).glob("*.jar"))]
    context = MavenContext(resolver=downloads, repo_cache=repository())
    jars.append(Path(context.project(*log[:2]).at_version(log[2]).artifact().resolve()))
    component = context.project(*registry[:2]).at_version(registry[2])
    return jars, Path(component.artifact(classifier="all", packaging="tar.gz").resolve())


def repository() -> Path:
    """Returns Maven's local repository, shared with every other tool of the machine."""
    return Path(GlobalSettings.load().repo_cache)


SUFFIXES: Final = (".jar", ".tar.gz")


def files() -> Iterator[Path]:
    """Returns all jars and archives of the local repository."""
    return (file for file in repository().rglob("*") if file.name.endswith(SUFFIXES))
