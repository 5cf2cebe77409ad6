"""The twin's background jobs: create_many, update_many and merge, with progress, partial failure and a ceiling."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

from gateway_schemas.time import TimeSource
from gateway_zendesk.twin_model import ApiError, Job, User

Work = Callable[[int, dict[str, Any]], dict[str, Any]]


class Jobs:
    """Jobs run by themselves in the twin's time. `start_after` and `each_takes` are seconds of it."""

    def __init__(self, time: TimeSource, tasks: set[asyncio.Task[None]]) -> None:
        self.time = time
        self.all: dict[str, Job] = {}
        self.start_after = 0.05
        self.each_takes = 0.0
        self.ceiling = 30
        self.terse = False
        """Whether good results have no more than `id` and `index`, as the specification shows them."""
        self.fail: dict[int, tuple[str, str]] = {}
        """Items of the next jobs that fail with this error and details, by their place; struck once."""
        self.crash_next = False
        """Whether the next job ends `failed` half way, without results."""
        self._free = asyncio.Event()
        self._free.set()
        self._tasks = tasks

    def hold(self) -> None:
        """Jobs stay queued until `release`."""
        self._free.clear()

    def release(self) -> None:
        """Queued jobs start."""
        self._free.set()

    def start(self, kind: str, items: list[dict[str, Any]], work: Work) -> Job:
        """Queue a job. Raises TooManyJobs when the ceiling of queued and running ones is reached."""
        running = [job.id for job in self.all.values() if job.status in ("queued", "working")]
        if len(running) >= self.ceiling:
            raise ApiError(
                429,
                {
                    "error": "TooManyJobs",
                    "description": f"Too many jobs are queued or running ({len(running)}).",
                    "current_job_ids": running,
                },
                {"zendesk-ratelimit-inflight-jobs": f"total={self.ceiling}; remaining=0; resets=60"},
            )
        job = Job(uuid.uuid4().hex, kind, len(items), items, self.time.now())
        self.all[job.id] = job
        task = asyncio.get_running_loop().create_task(self._run(job, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def headers(self) -> dict[str, str]:
        """The ceiling as Zendesk reports it."""
        running = sum(1 for job in self.all.values() if job.status in ("queued", "working"))
        left = max(0, self.ceiling - running)
        return {"zendesk-ratelimit-inflight-jobs": f"total={self.ceiling}; remaining={left}; resets=60"}

    async def _run(self, job: Job, work: Work) -> None:
        await self.time.sleep(self.start_after)
        await self._free.wait()
        job.status = "working"
        results: list[dict[str, Any]] = []
        crash, self.crash_next = self.crash_next, False
        for index, item in enumerate(job.items):
            if self.each_takes:
                await self.time.sleep(self.each_takes)
            if crash and index >= len(job.items) // 2:
                job.status, job.message = "failed", "Job failed"
                return
            results.append(self._one(index, item, work))
            job.progress = index + 1
        job.results = results
        job.status = "completed"
        job.message = f"Completed at {self.time.now():%Y-%m-%d %H:%M:%S} +0000"

    def _one(self, index: int, item: dict[str, Any], work: Work) -> dict[str, Any]:
        struck = self.fail.pop(index, None)
        if struck is not None:
            return {"index": index, "id": item.get("id"), "success": False, "error": struck[0], "details": struck[1]}
        try:
            result = work(index, item)
        except ApiError as error:
            body = error.body if isinstance(error.body, dict) else {"error": str(error.body)}
            details = json.dumps(body.get("details") or body.get("description"))
            failed = {"index": index, "success": False, "error": str(body.get("error")), "details": details}
            return {**failed, "id": item["id"]} if "id" in item else failed
        return {"index": index, "id": result["id"]} if self.terse else {"index": index, "success": True, **result}


def create_work(create: Callable[[dict[str, Any], User], int], user: User) -> Work:
    """What a create job does with each item."""
    return lambda _, item: {"action": "create", "status": "Created", "id": create(item, user)}


def update_work(update: Callable[[dict[str, Any], User], int], user: User) -> Work:
    """What an update job does with each item."""
    return lambda _, item: {"action": "update", "status": "Updated", "id": update(item, user)}
