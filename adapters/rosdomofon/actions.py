"""Carries out what Kounter asks the operator for: messages by Kafka or REST, sign-ups' statuses, blocks."""

from __future__ import annotations

from typing import Any, NamedTuple

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.kafka.models import KafkaOutgoingMessage, Place
from adapters.rosdomofon.rest.checks import built
from adapters.rosdomofon.rest.models import Account
from adapters.rosdomofon.settings import SUPPORT, OperatorSettings
from adapters.rosdomofon.wire import is_foreign, to_millis
from schemas.domofon import SignUpStatus
from schemas.errors import DeliveryRefused, DeliveryUnavailable, InvalidInput, shorten
from schemas.fields import is_id
from schemas.rosdomofon import OperatorAction, OperatorCommand


class Delivered(NamedTuple):
    """What became of a command."""

    place: str = ""
    """Of a message: where it stands on the operator's Kafka, or its id in the operator's history."""


class OperatorActions:
    """What one operator can be asked to do. ``api`` is None where no REST is set: what needs it is refused."""

    def __init__(self, settings: OperatorSettings, kafka: RosDomofonKafka, api: RosDomofonAPI | None) -> None:
        self._settings, self._kafka, self._api = settings, kafka, api

    async def deliver(self, command: OperatorCommand, attempt: int, uncertain: bool) -> Delivered:
        """Carry out a command. ``uncertain``: it may have been before, so a message is looked for.

        A status or a block that is set twice is the same as once. Raises DeliveryError.
        """
        try:
            match command.action:
                case OperatorAction.SEND_MESSAGE if command.by_rest:
                    return await self._send_by_rest(command, uncertain)
                case OperatorAction.SEND_MESSAGE:
                    return await self._send(command, uncertain)
                case OperatorAction.SET_SIGN_UP:
                    await self._set_sign_up(command)
                case OperatorAction.BLOCK | OperatorAction.UNBLOCK:
                    await self._block(command, command.action == OperatorAction.BLOCK)
                case _:
                    raise DeliveryRefused(f"no action {shorten(command.action)}")
        except InvalidInput as error:  # of what the operator's own forms allow
            raise DeliveryRefused(error.message) from None
        return Delivered()

    async def _send(self, command: OperatorCommand, uncertain: bool) -> Delivered:
        """On ``MESSAGES_OUT_<company>``, with the time of its cause: by that a repeat is found there."""
        if command.company not in self._settings.kafka.companies:
            raise DeliveryRefused(f"no company {shorten(command.company)} is served")
        phone = command.abonent_phone or ""
        # The operator knows its abonent by the id; a phone of another country's form is not written to it.
        known = is_id(phone) and not is_foreign(phone)
        to = {"id": _id(command.abonent_ext_id), "phone": int(phone) if known else 0}
        channel, text = command.channel or SUPPORT, _text(command)
        said = built(KafkaOutgoingMessage, channel=channel, message=text, to_abonents=[to])
        place = await self._kafka.send(
            said,
            company=command.company,
            at_ms=command.at // 1_000,
            again=uncertain,
            behind=_place(command.last_place),
        )
        return Delivered("/".join(map(str, place)))

    async def _send_by_rest(self, command: OperatorCommand, uncertain: bool) -> Delivered:
        """The operator says whether it was delivered; ``success: false`` is a refusal with the operator's words."""
        api, abonent, text = self._rest(), _id(command.abonent_ext_id), _text(command)
        channel = command.channel or SUPPORT
        if uncertain and (known := await _said(api, abonent, channel, text, command.at // 1_000)) is not None:
            return Delivered(str(known))
        await api.send_message_to_abonent(abonent, channel, text)
        return Delivered()

    async def _set_sign_up(self, command: OperatorCommand) -> None:
        if command.sign_up_status not in tuple(SignUpStatus):
            raise DeliveryRefused("a sign-up without a status that it may have")
        label = SignUpStatus[command.sign_up_status].label  # a decoded record has the symbol as plain text
        await self._rest().set_sign_up_status(_id(command.sign_up_ext_id), label)

    async def _block(self, command: OperatorCommand, blocked: bool) -> None:
        """All accounts of the abonent with that company, or the connections of these."""
        api = self._rest()
        unread: list[Any] = []
        accounts = [a for a in await api.get_accounts(lambda row, _: unread.append(row)) if _is_of(a, command)]
        if any(_may_be_of(row, command) for row in unread):
            raise DeliveryUnavailable("an account of the operator's can't be read, and may be the abonent's")
        if not accounts:
            raise DeliveryRefused(f"abonent {shorten(command.abonent_ext_id)} has no account with {command.company}")
        for account in accounts:
            if self._settings.blocks == "connection":
                for connection in await api.get_account_connections(account.id):
                    if connection.blocked is not blocked:
                        await (api.block_connection if blocked else api.unblock_connection)(connection.id)
            elif account.blocked is not blocked:
                if account.number is None:
                    raise DeliveryRefused(f"account {account.id} has no number")
                await (api.block_account if blocked else api.unblock_account)(account.number)

    def _rest(self) -> RosDomofonAPI:
        if self._api is None:
            raise DeliveryRefused(
                "this needs the operator's REST, which is not set",
                hint="Set KOUNTER_ROSDOMOFON__USERNAME and …__PASSWORD, then `kounter parked retry`.",
            )
        return self._api


async def _said(api: RosDomofonAPI, abonent: int, channel: str, text: str, at_ms: int) -> int | None:
    """The id of the message in the abonent's history, if it was said since then."""
    async for said in api.iter_abonent_messages(abonent, channel, whole=True):
        if said.message_date is not None and to_millis(said.message_date) < at_ms:
            return None
        if said.message == text and not said.incoming:
            return said.id
    return None


def _is_of(account: Account, command: OperatorCommand) -> bool:
    """By the owner's id, or by the phone where the account's owner has another id."""
    owner, company = account.owner, account.company
    if owner is None or (command.company and company and company.short_name not in (None, command.company)):
        return False
    return str(owner.id) == command.abonent_ext_id or (owner.phone is not None and owner.phone == command.abonent_phone)


def _may_be_of(row: Any, command: OperatorCommand) -> bool:
    """Of an account that can't be read: not if it has another owner."""
    owner = row.get("owner") if isinstance(row, dict) else None
    if not isinstance(owner, dict) or not is_id(str(owner.get("id"))):
        return True
    return str(owner["id"]) == command.abonent_ext_id or str(owner.get("phone")) == command.abonent_phone


def _place(text: str) -> Place | None:
    topic, _, at = text.partition("/")
    partition, _, offset = at.partition("/")
    return Place(topic, int(partition), int(offset)) if is_id(partition) and is_id(offset) else None


def _text(command: OperatorCommand) -> str:
    if not command.text:
        raise DeliveryRefused("a message without words")
    return command.text


def _id(ext_id: str | None) -> int:
    if not ext_id or not is_id(ext_id):
        raise DeliveryRefused(f"{shorten(ext_id)} is no id of the operator's")
    return int(ext_id)
