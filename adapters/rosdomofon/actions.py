"""Executes commands at the operator: messages by Kafka or REST, statuses of sign-ups, blocks
(docs/contracts/rosdomofon.md)."""

from __future__ import annotations

from typing import Any, NamedTuple

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.kafka.models import KafkaOutgoingMessage, Place
from adapters.rosdomofon.rest.checks import build_request
from adapters.rosdomofon.rest.models import Account
from adapters.rosdomofon.settings import SUPPORT, OperatorSettings
from adapters.rosdomofon.wire import is_foreign, to_millis
from schemas.domofon import SignUpStatus
from schemas.errors import DeliveryRefused, DeliveryUnavailable, InvalidInput, shorten
from schemas.fields import is_id
from schemas.rosdomofon import OperatorAction, OperatorCommand


class Delivered(NamedTuple):
    """The result of an executed command."""

    place: str = ""
    """A message's ``topic/partition/offset`` on the operator's Kafka, or its id in the abonent's history at the
    operator; empty for other commands."""


class OperatorActions:
    """Executes commands at one operator. ``api``: None if no REST is set; commands that need it are then refused."""

    def __init__(self, settings: OperatorSettings, kafka: RosDomofonKafka, api: RosDomofonAPI | None) -> None:
        self._settings, self._kafka, self._api = settings, kafka, api

    async def deliver(self, command: OperatorCommand, attempt: int, uncertain: bool) -> Delivered:
        """Execute a command.

        ``uncertain``: an earlier attempt may have succeeded, so a message is looked up before it is sent again;
        statuses and blocks are idempotent. Raises DeliveryRefused, DeliveryUnavailable, OutcomeUnknown or
        DeliveryDenied.
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
                    raise DeliveryRefused(f"unknown action {shorten(command.action)}")
        except InvalidInput as error:  # a field that the operator's format does not allow
            raise DeliveryRefused(error.message) from None
        return Delivered()

    async def _send(self, command: OperatorCommand, uncertain: bool) -> Delivered:
        """Send on ``MESSAGES_OUT_<company>`` with the command's time, by which a repeat finds the record there."""
        if command.company not in self._settings.kafka.companies:
            raise DeliveryRefused(f"company {shorten(command.company)} is not among the settings' companies")
        phone = command.abonent_phone or ""
        # The operator identifies the abonent by id; it does not take a phone of another country.
        valid_phone = is_id(phone) and not is_foreign(phone)
        addressee = {"id": _id(command.abonent_ext_id), "phone": int(phone) if valid_phone else 0}
        channel, text = command.channel or SUPPORT, _text(command)
        message = build_request(KafkaOutgoingMessage, channel=channel, message=text, to_abonents=[addressee])
        place = await self._kafka.send(
            message,
            company=command.company,
            at_ms=command.at // 1_000,
            again=uncertain,
            behind=_place(command.last_place),
        )
        return Delivered("/".join(map(str, place)))

    async def _send_by_rest(self, command: OperatorCommand, uncertain: bool) -> Delivered:
        """Send by REST, which confirms the delivery; ``success: false`` is a refusal with the operator's reason."""
        api, abonent, text = self._rest(), _id(command.abonent_ext_id), _text(command)
        channel = command.channel or SUPPORT
        if uncertain and (sent := await _find_sent(api, abonent, channel, text, command.at // 1_000)) is not None:
            return Delivered(str(sent))
        await api.send_message_to_abonent(abonent, channel, text)
        return Delivered()

    async def _set_sign_up(self, command: OperatorCommand) -> None:
        if command.sign_up_status not in tuple(SignUpStatus):
            raise DeliveryRefused(f"unknown sign-up status {shorten(command.sign_up_status)}")
        label = SignUpStatus[command.sign_up_status].label  # a decoded record has the symbol as plain text
        await self._rest().set_sign_up_status(_id(command.sign_up_ext_id), label)

    async def _block(self, command: OperatorCommand, blocked: bool) -> None:
        """Block or unblock all accounts of the abonent with that company, or the connections of these accounts."""
        api = self._rest()
        unreadable: list[Any] = []
        listed = await api.get_accounts(lambda row, _: unreadable.append(row))
        accounts = [account for account in listed if _belongs_to(account, command)]
        if any(_may_belong_to(row, command) for row in unreadable):
            raise DeliveryUnavailable("an unreadable account in the operator's list may be the abonent's")
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
                "the command needs the operator's REST, which is not set",
                hint="Set KOUNTER_ROSDOMOFON__USERNAME and …__PASSWORD, then `kounter parked retry`.",
            )
        return self._api


async def _find_sent(api: RosDomofonAPI, abonent: int, channel: str, text: str, since_ms: int) -> int | None:
    """Returns the id of the company's message with this text in the abonent's history, if it is not older."""
    async for message in api.iter_abonent_messages(abonent, channel, whole=True):
        if message.message_date is not None and to_millis(message.message_date) < since_ms:
            return None
        if message.message == text and not message.incoming:
            return message.id
    return None


def _belongs_to(account: Account, command: OperatorCommand) -> bool:
    """Compares the owner's id, or the phone where the account's owner has another id."""
    owner, company = account.owner, account.company
    if owner is None or (command.company and company and company.short_name not in (None, command.company)):
        return False
    return str(owner.id) == command.abonent_ext_id or (owner.phone is not None and owner.phone == command.abonent_phone)


def _may_belong_to(row: Any, command: OperatorCommand) -> bool:
    """Returns whether an unreadable account may be the abonent's: False only if it names another owner."""
    owner = row.get("owner") if isinstance(row, dict) else None
    if not isinstance(owner, dict) or not is_id(str(owner.get("id"))):
        return True
    return str(owner["id"]) == command.abonent_ext_id or str(owner.get("phone")) == command.abonent_phone


def _place(text: str) -> Place | None:
    topic, _, rest = text.partition("/")
    partition, _, offset = rest.partition("/")
    return Place(topic, int(partition), int(offset)) if is_id(partition) and is_id(offset) else None


def _text(command: OperatorCommand) -> str:
    if not command.text:
        raise DeliveryRefused("the message has no text")
    return command.text


def _id(ext_id: str | None) -> int:
    if not ext_id or not is_id(ext_id):
        raise DeliveryRefused(f"{shorten(ext_id)} is not an operator's id: expected a whole number")
    return int(ext_id)
