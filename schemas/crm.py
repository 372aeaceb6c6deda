"""The Core users service: users, the directory that numbers them, requests that are carried out once.

Source of the fields and of the words for a missing phone: docs/contracts/core-users.md#http-api. Commands and decided
events; the rules are in `streams.domains.crm`.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from schemas.commands import CommandOutcome, CommandReply
from schemas.fields import ExtId, Int, Label, Personal, Text, Texts
from schemas.record import also_on, namespace

record = namespace("crm")

DIRECTORY: Final = "users"
"""The one key of `crm.directory`, which numbers all users and so must see all."""

BLOCK: Final = 256
"""Consecutive ids that share a partition."""

Private = Annotated[Text, Personal()]


def block(key: bytes) -> bytes:
    """Returns the group of a user's key: users with neighbouring ids share a partition, so that one transaction holds
    many."""
    return b"%d" % (int(key) // BLOCK) if key.isdigit() and len(key) < 19 else key


class UserOperation(Label):
    ADD = "ADD", "add"
    CHANGE = "CHANGE", "change"
    MOVE = "MOVE", "move"


@record("crm.directory.commands", key="ext_id")
class AddUser(NamedTuple):
    """Ask for a new user; the reply's ``subject`` is its id."""

    ext_id: ExtId
    """`DIRECTORY`"""
    command_id: Text = ""
    full_name: Private | None = None
    phone: Private | None = None
    stage: Text | None = None
    stages: Texts = ()
    """The portal's stages (``crm.status.list``) that the sender read; none: Bitrix24's own five."""
    request: Text | None = None
    """The key of the `crm.request` that receives the outcome."""


@record("crm.directory", key="ext_id")
class UserNumbered(NamedTuple):
    """Decided: the highest id that is given."""

    ext_id: ExtId
    update_id: Int | None = None
    last_id: Int | None = None
    unset: Texts = ()


@record("crm.user.commands", key="ext_id", grouped=block)
class ChangeUser(NamedTuple):
    """Ask for other fields of a user; absent ones stay."""

    ext_id: ExtId
    command_id: Text = ""
    full_name: Private | None = None
    phone: Private | None = None
    stage: Text | None = None
    stages: Texts = ()
    request: Text | None = None


@record("crm.user.commands", key="ext_id", grouped=block)
class MoveUser(NamedTuple):
    """Ask for another stage."""

    ext_id: ExtId
    command_id: Text = ""
    stage: Text | None = None
    stages: Texts = ()
    request: Text | None = None


@record("crm.user.commands", key="ext_id", grouped=block)
class MendUser(NamedTuple):
    """A person has mended the command of a user's card (`kounter parked retry --set`): the user stands as the card."""

    ext_id: ExtId
    command_id: Text = ""
    edits: Private = ""
    """JSON by field of the card's command: the value asked for and the value written."""


@record("crm.user", key="ext_id", grouped=block)
class UserCreated(NamedTuple):
    """A user of the Core service. Decided by the directory, as the first record of its key."""

    ext_id: ExtId
    """``user_id`` as text."""
    update_id: Int | None = None
    user_id: Int | None = None
    full_name: Private | None = None
    phone: Private | None = None
    """E.164: +77001112233"""
    stage: Text | None = None
    """A STATUS_ID of the portal."""
    request: Text | None = None
    """Idempotency-Key of the last change that had one."""
    unset: Texts = ()


@record("crm.user", key="ext_id", grouped=block, if_unknown="ignore")
class UserUpdated(NamedTuple):
    """Decided: the fields that are other now."""

    ext_id: ExtId
    update_id: Int | None = None
    full_name: Private | None = None
    phone: Private | None = None
    stage: Text | None = None
    request: Text | None = None
    unset: Texts = ()


@record("crm.user", key="ext_id", grouped=block, if_unknown="ignore")
class UserMoved(NamedTuple):
    """Decided: the new stage."""

    ext_id: ExtId
    update_id: Int | None = None
    stage: Text | None = None
    request: Text | None = None
    unset: Texts = ()


@record("crm.user", key="ext_id", grouped=block, if_unknown="ignore")
class UserMended(NamedTuple):
    """Decided: the fields as the card has them since a person mended its command."""

    ext_id: ExtId
    update_id: Int | None = None
    full_name: Private | None = None
    phone: Private | None = None
    stage: Text | None = None
    unset: Texts = ()


@record("crm.request.commands", key="ext_id")
class BeginRequest(NamedTuple):
    """Ask for an operation that must be carried out once, however often it is asked for under this key."""

    ext_id: ExtId
    """The Idempotency-Key."""
    command_id: Text = ""
    fingerprint: Text = ""
    """Hash of operation and body: the same key with another hash is refused."""
    operation: UserOperation = UserOperation.ADD
    user_id: Int | None = None
    """Id of the user to change or move."""
    full_name: Private | None = None
    phone: Private | None = None
    stage: Text | None = None
    stages: Texts = ()


@record("crm.request", key="ext_id")
class RequestBegun(NamedTuple):
    """Decided: the operation is under way."""

    ext_id: ExtId
    update_id: Int | None = None
    fingerprint: Text | None = None
    operation: UserOperation | None = None
    unset: Texts = ()


@record("crm.request", key="ext_id", if_unknown="ignore")
class RequestDone(NamedTuple):
    """What became of it: the answer that every repeat gets. Told by the aggregate that carried it out."""

    ext_id: ExtId
    outcome: CommandOutcome | None = None
    code: Text | None = None
    reason: Text | None = None
    user_id: Int | None = None
    full_name: Private | None = None
    phone: Private | None = None
    stage: Text | None = None
    unset: Texts = ()


also_on(CommandReply, "crm.directory.replies", "crm.user.replies", "crm.request.replies")
