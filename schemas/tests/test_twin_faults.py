"""Random faults that a seed repeats, and a clock that goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import httpx2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.testing.twin import Fault, FaultSchedule, SkewedTime, Twin
from gateway_schemas.time import SystemTime

REQUESTS = [("GET", "/posts"), ("POST", "/posts"), ("GET", "/posts"), ("DELETE", "/posts/1")] * 60


class Board(Twin):
    """Takes posts."""

    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/posts", self._post, methods=["POST"])]

    async def _post(self, request: Request) -> Response:
        self.effect("post", str(len(self.ledger)))
        return JSONResponse({}, 201)


def struck(schedule: FaultSchedule, requests: Sequence[tuple[str, str]] = REQUESTS) -> list[Fault | None]:
    return [schedule.strike(method, path) for method, path in requests]


def test_a_seed_repeats_its_faults_and_another_has_others() -> None:
    first, again, other = (struck(FaultSchedule(seed=seed, share=0.3)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert 0.15 < sum(one is not None for one in first) / len(first) < 0.45
    assert {one.kind for one in first if one} == set(FaultSchedule().kinds)


def test_what_one_path_meets_does_not_depend_on_what_came_between() -> None:
    alone = struck(FaultSchedule(seed=3, share=0.4), [("POST", "/posts")] * 60)
    among = [
        fault
        for (method, _), fault in zip(REQUESTS, struck(FaultSchedule(seed=3, share=0.4)), strict=True)
        if method == "POST"
    ]
    assert alone == among


def test_who_tries_again_gets_through() -> None:
    met = struck(FaultSchedule(seed=1, share=1.0, in_a_row=2), [("POST", "/posts")] * 9)
    assert [one is not None for one in met] == [True, True, False] * 3


def test_an_effect_is_never_answered_429() -> None:
    met = struck(FaultSchedule(seed=5, share=0.9, statuses=(429,)))
    assert {one.status for one in met if one and one.kind == "status_after"} == {500}
    limited = [one for one in met if one and one.kind == "status_before"]
    assert limited
    assert all(one.status == 429 and one.headers["retry-after"] == "2" for one in limited)


async def test_a_scheduled_fault_after_the_effect_leaves_the_effect() -> None:
    twin = Board()
    twin.schedule = FaultSchedule(share=1.0, kinds=("status_after",), statuses=(503,), in_a_row=1)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(twin.app), base_url="http://twin") as http:
        assert [(await http.post("/posts")).status_code for _ in range(4)] == [503, 201, 503, 201]
    assert len(twin.ledger) == 4


def test_a_clock_goes_wrong_by_what_it_is_told() -> None:
    clock = SkewedTime(by=timedelta(minutes=-7))
    assert timedelta(minutes=6, seconds=59) < SystemTime().now() - clock.now() < timedelta(minutes=7, seconds=1)
    clock.by = timedelta()
    assert abs(SystemTime().now() - clock.now()) < timedelta(seconds=1)
