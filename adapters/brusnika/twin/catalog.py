"""The choices of the twin's developer: towns, names, dates, and the paths that a sale can take."""

from __future__ import annotations

from typing import Final

from schemas.estate import LeadStatus

CITIES: Final = (
    ("Екатеринбург", "60.6122", "56.8519"),
    ("Тюмень", "65.5343", "57.1530"),
    ("Новосибирск", "82.9346", "55.0302"),
    ("Москва", "37.6173", "55.7558"),
    ("Сургут", "73.3962", "61.2540"),
    ("Курган", "65.3411", "55.4410"),
    ("Омск", "73.3686", "54.9885"),
    ("Томск", "84.9744", "56.4977"),
)
PROJECTS: Final = ("Шишимская горка", "Суходольский квартал", "Первый на Есенина", "Европейский берег", "Дом «У озера»")
STREETS: Final = ("ул. Щербакова", "ул. Есенина", "Большая ул.", "проспект Ленина", "Заречная набережная")
END_DATES: Final = tuple(1_798_675_200_000_000 + q * 7_889_400_000_000 for q in range(8))
"""Quarters from 2026-12-31 on, in microseconds since the epoch."""

S = LeadStatus
PATHS: Final[dict[LeadStatus, tuple[tuple[LeadStatus, int], ...]]] = {
    S.OPEN: ((S.CHECK_LEAD, 3), (S.INTEREST_IN_PURCHASING, 6), (S.FAILED, 1)),
    S.CHECK_LEAD: ((S.INTEREST_IN_PURCHASING, 8), (S.FAILED, 2)),
    S.INTEREST_IN_PURCHASING: ((S.PRESENTATION, 8), (S.ON_PAUSE, 1), (S.FAILED, 1)),
    S.PRESENTATION: ((S.BOOKED, 7), (S.ON_PAUSE, 2), (S.FAILED, 1)),
    S.ON_PAUSE: ((S.INTEREST_IN_PURCHASING, 7), (S.FAILED, 3)),
    S.BOOKED: ((S.REQUEST_FOR_CONTRACT, 8), (S.BOOK_CANCELED, 1), (S.LOST_BOOK, 1)),
    S.BOOK_CANCELED: ((S.PRESENTATION, 5), (S.FAILED, 5)),
    S.LOST_BOOK: ((S.PRESENTATION, 5), (S.FAILED, 5)),
    S.REQUEST_FOR_CONTRACT: ((S.CONTRACT_IS_REGISTERED, 9), (S.BOOK_CANCELED, 1)),
    S.CONTRACT_IS_REGISTERED: ((S.WON, 1),),
}
"""Next statuses of each status, with weights. WON and FAILED are the ends. The paths are ours:
docs/contracts/brusnika.md#words only lists the statuses [inferred]."""
