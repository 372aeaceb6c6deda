"""docs/produce.md: its examples run as they stand, and what they produce is folded as it says."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from schemas.estate import Lead, LeadOp, LeadState, LeadStatus
from streams.domains.estate import ESTATE
from streams.kafka.partitioner import partition_of
from tests.support.cluster import Cluster

pytestmark = pytest.mark.integration
DOC = (Path(__file__).parents[3] / "docs" / "produce.md").read_text("utf-8")
THEIRS, OURS = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)


def run(stack: Any, code: str, doc_id: str) -> str:
    """Run an example on the stack, for a lead of its own; returns the lead's id."""
    ext_id = f"doc-{uuid.uuid4()}"
    env = {
        **os.environ,
        "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
        "KOUNTER_REGISTRY__URL": stack.registry_url,
    }
    assert doc_id in code
    done = subprocess.run(
        [sys.executable, "-c", code.replace(doc_id, ext_id)], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return ext_id


@pytest.mark.skipif(not importlib.util.find_spec("confluent_kafka"), reason="of the optional peers")
async def test_with_a_client_of_your_own(stack: Any) -> None:
    async with Cluster(stack, ESTATE) as cluster:
        ext_id = run(stack, THEIRS, "4711")
        (record,) = await cluster.read("estate.lead", ext_id)
        assert await cluster.rows("estate.lead", ext_id) == [LeadOp(ext_id, 17, "op-9", LeadStatus.BOOKED)]
        assert dict(record.headers)["ce_source"] == b"/sales"
        assert record.partition == home(cluster, ext_id)


async def test_with_kounters_own_classes(stack: Any) -> None:
    async with Cluster(stack, ESTATE) as cluster:
        ext_id = run(stack, OURS, "4712")
        assert await cluster.rows("estate.lead", ext_id) == [
            Lead(ext_id, 1, fee=Decimal("1500.00"), state=LeadState.ACTIVE),
            LeadOp(ext_id, 2, "op-10", LeadStatus.BOOKED),
            Lead(ext_id, 3, unset=("fee",)),
        ]
        assert {r.partition for r in await cluster.read("estate.lead", ext_id)} == {home(cluster, ext_id)}


def home(cluster: Cluster, ext_id: str) -> int:
    return partition_of(ext_id.encode(), cluster.kafka.partitions)
