"""One Node.js process for all tests of the folder; they are skipped where there is none."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

from tests.support.systems.node import Node, NotAtHand, installed


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    try:
        found = installed()
    except NotAtHand as error:
        pytest.skip(str(error))
    process = Node(found, tmp_path_factory.mktemp("node") / "stderr.txt")
    yield process
    process.close()


@pytest.fixture
def forgotten_connections() -> Iterator[None]:
    """Collects connections that a server leaves unclosed if it ends under a polling client: no other test finds them.

    Tests that use this ignore the warning themselves.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
