"""All domains, by name. A new one is added here and then appears in worker, view, gateway and command line."""

from __future__ import annotations

from typing import Final

from streams.aggregate import Domain
from streams.domains.crm import CRM
from streams.domains.domofon import domofon
from streams.domains.estate import ESTATE
from streams.rules import DomofonRules

DOMAINS: Final[dict[str, Domain]] = {domain.name: domain for domain in (ESTATE, CRM, domofon(DomofonRules()))}
"""Domains by name, with their topics and tables; workers put in the rules of a deployment."""
