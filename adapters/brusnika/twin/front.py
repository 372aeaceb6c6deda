"""The people around the twin's company: agencies and their agents, clients, visits, bookings and tasks, for ever and
the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from schemas.bookings import (
    BookingStatus,
    ReportBooking,
    ReportTimeSlot,
    ReportVisit,
    VisitStatus,
)
from schemas.estate import Task, TaskStatus, TaskType
from schemas.people import (
    Agency,
    ConfirmationType,
    FixingType,
    RegisterStatus,
    ReportClient,
    ReportFixing,
    ReportUser,
    Role,
    UserStatus,
)

Row = tuple[Any, ...]

NAMES: Final = ("Анна Петрова", "Иван Сидоров", "Мария Ким", "Алишер Юсупов", "Ольга Соколова", "Пётр Ли")
LATER: Final = {VisitStatus.OPEN: VisitStatus.ASSIGNED, VisitStatus.ASSIGNED: VisitStatus.SUCCESS}
REMEMBERED: Final = 50
"""Clients, visits and tasks of each kind that still change."""
MICROS: Final = 1_798_675_200_000_000


class Front:
    """An iterator of changes as rows without numbers; it never ends."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"front/{seed}")
        self._counts: dict[str, int] = {}
        self._visits: dict[str, VisitStatus] = {}
        self._clients: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        yield self._agency()
        yield self._user()
        yield self._client()
        deeds = {
            self._client: 20, self._fixing: 20, self._slot: 20, self._visit: 15, self._visit_status: 15,
            self._booking: 10, self._task: 10, self._user: 5, self._block: 2, self._agency: 1,
        }  # fmt: skip
        acts, weights = list(deeds), list(deeds.values())
        while True:
            yield self._random.choices(acts, weights)[0]()

    def _new(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}-{self._counts[kind]}"

    def _known(self, kind: str) -> str:
        return f"{kind}-{self._random.randint(1, self._counts.get(kind) or 1)}"

    def _agency(self) -> Row:
        ext_id = self._new("agency")
        return Agency(
            ext_id,
            city_ext_id="city-1",
            title=f"Агентство {ext_id}",
            legal_name="ООО «Агентство»",
            inn=f"{self._random.randrange(10**9, 10**10)}",
            phone=self._phone(),
            email=f"{ext_id}@agency.example",
            owner_full_name=self._random.choice(NAMES),
        )

    def _user(self) -> Row:
        ext_id, name = self._new("user"), self._random.choice(NAMES)
        return ReportUser(
            ext_id,
            first_name=name.split()[0],
            last_name=name.split()[1],
            role=self._random.choice((Role.AGENT, Role.MANAGER, Role.NEW_MEMBER, Role.HEAD_OF_AGENCY)),
            email=f"{ext_id}@agency.example",
            username=ext_id,
            phone=self._phone(),
            birth_date=f"{self._random.randint(1960, 2004)}-05-17",
            status=UserStatus.ACTIVE,
            register_status=RegisterStatus.FINISHED,
            agency_ext_id=self._known("agency"),
        )

    def _block(self) -> Row:
        return ReportUser(self._known("user"), status=UserStatus.BLOCKED)

    def _client(self) -> Row:
        ext_id = self._new("client")
        self._clients = [*self._clients[-REMEMBERED:], ext_id]
        return ReportClient(
            ext_id,
            fullname=self._random.choice(NAMES),
            phone_number=self._phone(),
            activated_date=MICROS,
            confirmation_type=self._random.choice(list(ConfirmationType)),
            fixing_type=FixingType.LEAD_VERIFICATION,
            agent_ext_id=self._known("user"),
        )

    def _fixing(self) -> Row:
        fixing = self._random.choice((FixingType.WEAK_FIXING, FixingType.STRONG_FIXING, FixingType.CANCEL_FIXING))
        return ReportFixing(self._random.choice(self._clients), fixing_ext_id=self._new("fixing"), fixing_type=fixing)

    def _slot(self) -> Row:
        day, hour = self._random.randint(1, 28), self._random.randint(9, 18)
        return ReportTimeSlot(
            self._new("slot"),
            date=f"2027-02-{day:02}",
            time=f"{hour:02}:30",
            is_booked=self._random.random() < 0.3,
        )

    def _visit(self) -> Row:
        ext_id = self._new("visit")
        self._visits[ext_id] = VisitStatus.OPEN
        if len(self._visits) > REMEMBERED:
            del self._visits[next(iter(self._visits))]
        return ReportVisit(
            ext_id,
            project_ext_id="project-1",
            client_ext_id=self._known("client"),
            agent_ext_id=self._known("user"),
            date=f"2027-02-{self._random.randint(1, 28):02}",
            time="10:00",
            status=VisitStatus.OPEN,
        )

    def _visit_status(self) -> Row:
        if not self._visits:
            return self._visit()
        ext_id = self._random.choice(list(self._visits))
        status = LATER.get(self._visits.pop(ext_id), VisitStatus.FAIL)
        if status in LATER:
            self._visits[ext_id] = status
        return ReportVisit(ext_id, status=status)

    def _booking(self) -> Row:
        return ReportBooking(self._new("booking"), status=self._random.choice(list(BookingStatus)))

    def _task(self) -> Row:
        return Task(
            self._new("task"),
            comment="Позвонить клиенту",
            task_type=self._random.choice(list(TaskType)),
            status=self._random.choice(list(TaskStatus)),
            client_ext_id=self._known("client"),
            manager_ext_id=self._known("user"),
            project_ext_id="project-1",
            start_date=MICROS,
        )

    def _phone(self) -> str:
        return f"+7999{self._random.randrange(10**7):07}"
