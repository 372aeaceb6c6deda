"""Whatever a producer may write in a row that can be read: no rule of a real domain ends the lane over it.

What a rule can't take must be ignored, refused or put aside; an exception would stop the partition for good.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.codec.serde import Serde
from schemas.crm import DIRECTORY, AddUser, MoveUser, UserCreated, UserNumbered
from schemas.errors import InvalidInput
from schemas.record import Contract, contract, contracts, partition_key
from streams.aggregate import Domain
from streams.domains.crm import CRM
from streams.domains.domofon import domofon
from streams.domains.estate import ESTATE
from streams.kafka.partitioner import partition_of
from streams.lane.processor import BatchProcessor
from streams.rules import DomofonRules
from tests.support.local import PARTITIONS, Raw, keys_of, local_serde
from tests.support.values import rows

HOME = 3
STAGE = "NEW"
RULES = DomofonRules(
    acknowledgements={"A": "thanks"}, block_stage="JUNK", stage_messages={STAGE: "now $stage", "JUNK": "gone"}
)
DOMAINS = {domain.name: domain for domain in (ESTATE, CRM, domofon(RULES))}
SERDES: dict[str, Serde] = {}
LAST = 2**63 - 1
ADD = AddUser(DIRECTORY, "c", "a", "+77001112233", "NEW", ())
WORDS = st.sampled_from(
    ["A", STAGE, "JUNK", "CONVERTED", "IN", "OPERATOR", "1", "-1", "0", "79990000001", "+77001112233", "abonent:1",
     "", "\0", "a\nb", "٣", "9" * 5_000, "x" * 70_000, "estate.lead", "crm.user", "domofon.abonent", "{}", "[", "NaN"]
)  # fmt: skip
NUMBERS = st.sampled_from([0, 1, 2, -1, 2**63 - 1, -(2**63), 2**62, 10**15, 1_700_000_000_000_000])


@st.composite
def likely(draw: st.DrawFn, of: Contract, keys: list[str]) -> Any:
    """A row with any values, of which some are those that rules look at."""
    row = draw(rows(of))
    for name, value in row._asdict().items():
        if isinstance(value, str) and value.isidentifier() and value.isupper():
            continue  # a word of an enum
        if isinstance(value, str) and draw(st.booleans()):
            row = row._replace(**{name: draw(WORDS)})
        elif isinstance(value, int) and not isinstance(value, bool) and draw(st.booleans()):
            row = row._replace(**{name: draw(NUMBERS)})
    if "unset" in of.fields and draw(st.booleans()):
        row = row._replace(unset=tuple(draw(st.lists(st.sampled_from([*of.fields, "rest", "x"]), max_size=3))))
    return row._replace(**{of.key: draw(st.sampled_from(keys))})


def written(serde: Serde, topic: str, row: Any, offset: int, at: int) -> Raw | None:
    of = contract(type(row))
    try:
        return Raw(row[of.fields.index(of.key)].encode(), serde.encode(topic, row), offset, 0, at)
    except InvalidInput:
        return None


def keys_at_home(topic: str) -> list[str]:
    shaped = ["1", "directory", "+1", "x/y", "1/MESSAGES_IN_A/0/0", "9" * 30, "a\0b", *keys_of(HOME, 2)]
    shaped += [f"{n}" for n in range(40)]
    return [k for k in shaped if partition_of(partition_key(topic, k.encode()), PARTITIONS) == HOME][:8]


async def fold(domain: Domain, batches: list[tuple[str, Any, int]], home: int = HOME) -> BatchProcessor:
    if domain.name not in SERDES:
        SERDES[domain.name], _ = await local_serde(*{*domain.sources, *domain.writes})
    serde = SERDES[domain.name]
    processor = BatchProcessor(domain, serde, PARTITIONS, 800_000)
    states: dict[bytes, bytes] = {}
    for offset, (topic, row, at) in enumerate(batches):
        record = written(serde, topic, row, offset, at)
        if record is None:
            continue
        folded = await processor.fold(home, [(topic, [record])], states.get)
        for key, value in folded.states.items():
            if value is None:
                states.pop(key, None)
            else:
                states[key] = value
    return processor


@pytest.mark.parametrize("name", DOMAINS)
@given(data=st.data())
@settings(suppress_health_check=list(HealthCheck))
async def test_no_row_ends_a_lane(name: str, data: st.DataObject) -> None:
    domain = DOMAINS[name]
    choices = [(topic, of) for topic in domain.sources for of in contracts(topic)]
    picked = data.draw(st.lists(st.sampled_from(choices), min_size=1, max_size=6))
    batches = []
    for topic, of in picked:
        at = data.draw(st.sampled_from([0, 1, -1, 1_700_000_000_000, 2**53, 253_402_300_800_000]))
        batches.append((topic, data.draw(likely(of, keys_at_home(topic))), at))
    await fold(domain, batches)


@pytest.mark.parametrize(
    ("key", "event", "command"),
    [
        (
            "7",
            UserCreated("7", update_id=LAST, user_id=7, full_name="a", phone="+77001112233", stage="NEW"),
            MoveUser("7", "c", "JUNK", ()),
        ),
        (DIRECTORY, UserNumbered(DIRECTORY, update_id=1, last_id=LAST), ADD),
        (DIRECTORY, UserNumbered(DIRECTORY, update_id=LAST, last_id=1), ADD),
    ],
)
async def test_after_the_last_number_there_is_none(key: str, event: Any, command: Any) -> None:
    """A stranger's event of the last number would have ended the lane with every command after it."""
    topic = contract(type(event)).topics[0]
    home = partition_of(partition_key(topic, key.encode()), PARTITIONS)
    processor = await fold(CRM, [(topic, event, 1), (f"{topic}.commands", command, 2)], home)
    assert (processor.stats.folded, processor.stats.dead_letters) == (1, 1)
