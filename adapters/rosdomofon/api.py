"""RosDomofon for Python: accounts, flats, services, blocks and messages (seed `rosdomofon-bitrix24`, contracts §2).

The errors of all methods are those of `schemas.errors`: RosDomofonRefused for what the operator will never take,
DeliveryUnavailable for what may be tried again, OutcomeUnknown where a write may have been done, DeliveryDenied where
the operator will not talk to us. An id or a text that can't be right is refused before it is sent (InvalidInput).
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from loguru import logger

from adapters.rosdomofon.accounts import Accounts
from adapters.rosdomofon.messages import Messages
from adapters.rosdomofon.models import AuthResponse
from adapters.rosdomofon.rest import RosDomofonRest, RosDomofonSettings


class RosDomofonAPI(Accounts, Messages):
    """``async with RosDomofonAPI(RosDomofonSettings(username="user", password="pass")) as api: ...``"""

    def __init__(self, settings: RosDomofonSettings) -> None:
        self._rest = RosDomofonRest(settings)

    async def __aenter__(self) -> Self:
        await self._rest.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._rest.__aexit__(kind, error, trace)

    async def authenticate(self) -> AuthResponse:
        """Get a token at once. Not needed before other methods: they get and renew it themselves.

        >>> (await api.authenticate()).token_type
        'bearer'
        """
        got = await self._rest.authenticate()
        logger.info("rosdomofon: authenticated, the token is good for {} s", got.expires_in)
        return got
