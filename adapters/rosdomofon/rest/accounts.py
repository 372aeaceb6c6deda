"""Accounts, flats, services and their blocks, by REST (docs/contracts/rosdomofon.md#rest).

Every method raises RosDomofonRefused, DeliveryUnavailable or DeliveryDenied, and InvalidInput for an invalid argument;
methods that write also raise OutcomeUnknown. Docstrings name further errors only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from loguru import logger

from adapters.rosdomofon.rest.checks import build_request, path_id, path_number, valid_phone
from adapters.rosdomofon.rest.client import V1, V2, OnUnreadable, RosDomofonRest
from adapters.rosdomofon.rest.models import (
    Account,
    Connection,
    CreateAccountRequest,
    CreateAccountResponse,
    CreateConnectionRequest,
    CreateConnectionResponse,
    CreateFlatRequest,
    CreateFlatResponse,
    Entrance,
    Flat,
    Service,
    SignUpChange,
    SignUpStatus,
)
from adapters.rosdomofon.wire import mask
from schemas.errors import DeliveryUnavailable


class Accounts:
    """Methods of `RosDomofonAPI` for accounts, flats, services, connections and sign-ups."""

    _rest: RosDomofonRest

    async def get_accounts(self, on_unreadable: OnUnreadable | None = None) -> list[Account]:
        """Return all accounts of the company; the operator does not page them.

        ``on_unreadable`` is called for each row that can't be read; without it such rows are logged.

        >>> [account.number for account in await api.get_accounts()]
        ['ACC123456']
        """
        accounts = await self._rest.rows(Account, f"{V1}/accounts", on_unreadable)
        logger.debug("rosdomofon: {} accounts", len(accounts))
        return accounts

    async def get_account(self, account_id: int) -> Account:
        """Return one account with balance, connections and invoice. Raises RosDomofonRefused if it does not exist.

        >>> (await api.get_account(904154)).balance.balance
        1500.5
        """
        return await self._rest.ask(Account, f"{V1}/accounts/{path_id(account_id)}")

    async def get_account_by_phone(self, phone: str) -> Account | None:
        """Return the account whose owner has this phone, None if there is none. Reads all accounts.

        Raises DeliveryUnavailable also if an unreadable account may be the one.

        >>> (await api.get_account_by_phone("79061234567")).number
        'ACC123456'
        """
        wanted = valid_phone(phone)
        unreadable: list[str] = []
        accounts = await self.get_accounts(lambda _, why: unreadable.append(why))
        found = next((a for a in accounts if a.owner and a.owner.phone == wanted), None)
        if found is None and unreadable:
            raise DeliveryUnavailable(f"an account can't be read, it may be the one: {unreadable[0]}")
        logger.debug("rosdomofon: account of {}: {}", mask(wanted), found.id if found else "none")
        return found

    async def create_account(self, number: str, phone: str) -> CreateAccountResponse:
        """Open an account for the abonent with this phone.

        >>> (await api.create_account("ACC123457", "79061234568")).id
        904155
        """
        body = build_request(CreateAccountRequest, number=number, phone=phone)
        created = await self._rest.create(CreateAccountResponse, f"{V1}/accounts", body.wire())
        logger.info("rosdomofon: account {} is created for {}", created.id, mask(phone))
        return created

    async def create_flat(
        self, entrance_id: int | str, flat_number: str, *, abonent_id: int | None = None, virtual: bool = False
    ) -> CreateFlatResponse:
        """Add a flat to an entrance.

        >>> (await api.create_flat(26959, "2", abonent_id=1574870)).address.flat
        2
        """
        body = build_request(
            CreateFlatRequest, abonent_id=abonent_id, entrance_id=entrance_id, flat_number=flat_number, virtual=virtual
        )
        fields = {name: value for name, value in body.wire().items() if value is not None}
        created = await self._rest.create(CreateFlatResponse, f"{V1}/flats", fields)
        logger.info("rosdomofon: flat {} is created in entrance {}", created.id, entrance_id)
        return created

    async def get_account_flats(self, account_id: int, on_unreadable: OnUnreadable | None = None) -> list[Flat]:
        """Return the flats of an account; ``on_unreadable`` as in `get_accounts`.

        >>> [flat.address.line() for flat in await api.get_account_flats(904154)]
        ['Чебоксары, Филиппа Лукина, 5, подъезд 1, кв. 1']
        """
        return await self._rest.rows(Flat, f"{V1}/accounts/{path_id(account_id)}/flats", on_unreadable)

    def get_entrances(self, address: str = "") -> AsyncIterator[Entrance]:
        """Yield the entrances whose address contains this text, with their services; pages are read as needed.

        >>> [entrance.id async for entrance in api.get_entrances("Филиппа Лукина, 5")]
        [26959]
        """
        return self._rest.pages(Entrance, f"{V1}/entrances", {"address": address} if address else {})

    async def get_entrance_services(self, entrance_id: int) -> list[Service]:
        """Return the services that can be connected in an entrance.

        >>> [service.type for service in await api.get_entrance_services(26959)]
        ['HouseChat', 'VideoSurveillance', 'SoftwareIntercom']
        """
        return await self._rest.rows(Service, f"{V1}/entrances/{path_id(entrance_id)}/services")

    def get_services(self, on_unreadable: OnUnreadable | None = None) -> AsyncIterator[Service]:
        """Yield all services of the company; ``on_unreadable`` as in `get_accounts`.

        >>> [service.id async for service in api.get_services()]
        [12345, 12346, 12347]
        """
        return self._rest.pages(Service, f"{V1}/services", {}, on_unreadable)

    async def connect_service(
        self, service_id: int, flat_id: int, account_id: int | None = None
    ) -> CreateConnectionResponse:
        """Connect a service to a flat; ``account_id``: the account that pays for it, if any.

        >>> (await api.connect_service(12346, flat_id=842554, account_id=904154)).id
        790
        """
        body = build_request(CreateConnectionRequest, flat_id=flat_id, account_id=account_id)
        fields = {name: value for name, value in body.wire().items() if value is not None}
        path = f"{V1}/services/{path_id(service_id)}/connections"
        created = await self._rest.create(CreateConnectionResponse, path, fields)
        logger.info("rosdomofon: service {} is connected to flat {}: {}", service_id, flat_id, created.id)
        return created

    async def get_account_connections(
        self, account_id: int, on_unreadable: OnUnreadable | None = None
    ) -> list[Connection]:
        """Return the connections of an account; ``on_unreadable`` as in `get_accounts`.

        >>> [connection.service.type for connection in await api.get_account_connections(904154)]
        ['HouseChat']
        """
        return await self._rest.rows(Connection, f"{V1}/accounts/{path_id(account_id)}/connections", on_unreadable)

    async def get_service_connections(self, service_id: int) -> list[Connection]:
        """Return the connections of a service.

        >>> [connection.flat.id for connection in await api.get_service_connections(12345)]
        [842554]
        """
        return await self._rest.rows(Connection, f"{V1}/services/{path_id(service_id)}/connections")

    async def block_account(self, number: str) -> None:
        """Block an account, by its number and not by its id.

        >>> await api.block_account("ACC123456")
        """
        await self._rest.write("PUT", f"{V1}/accounts/{path_number(number)}/block")
        logger.info("rosdomofon: account number {} is blocked", number)

    async def unblock_account(self, number: str) -> None:
        """Unblock an account, by its number and not by its id.

        >>> await api.unblock_account("ACC123456")
        """
        await self._rest.write("DELETE", f"{V1}/accounts/{path_number(number)}/block")
        logger.info("rosdomofon: account number {} is unblocked", number)

    async def block_connection(self, connection_id: int) -> None:
        """Block one connection.

        >>> await api.block_connection(789)
        """
        await self._rest.write("PUT", f"{V1}/services_connections/{path_id(connection_id)}/block")
        logger.info("rosdomofon: connection {} is blocked", connection_id)

    async def unblock_connection(self, connection_id: int) -> None:
        """Unblock one connection.

        >>> await api.unblock_connection(789)
        """
        await self._rest.write("DELETE", f"{V1}/services_connections/{path_id(connection_id)}/block")
        logger.info("rosdomofon: connection {} is unblocked", connection_id)

    async def set_sign_up_status(
        self,
        sign_up_id: int,
        status: SignUpStatus | str | None = None,
        *,
        is_virtual: bool | None = None,
        rejected_reason: str | None = None,
    ) -> None:
        """Set the status of a sign-up: unprocessed, processed, connected, delegated or rejected.

        >>> await api.set_sign_up_status(566836, "rejected", rejected_reason="Неверный адрес")
        """
        body = build_request(SignUpChange, status=status, is_virtual=is_virtual, rejected_reason=rejected_reason)
        await self._rest.write("PATCH", f"{V2}/sign_ups/{path_id(sign_up_id)}", body.wire())
        logger.info("rosdomofon: sign-up {} is {}", sign_up_id, body.status or "changed")
