"""Idempotency-Key: a POST repeated under the same key is done once, and its first answer is given again.

The key is claimed in a row of its own before the request is worked on. An answer that says that something was done
(2xx)
is kept for a day, sealed, because it may show a secret; any other answer gives the key free, since nothing was done.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from gateway.api.problems import FieldError, Problem
from gateway.db.database import as_json, execute, fetch_one
from gateway.runtime import Runtime
from gateway.security.keys import Caller

log = logging.getLogger(__name__)

LONGEST = 255
KEPT_HEADERS = ("content-type", "location", "etag")
TAKEN_OVER = 120
"""Seconds after which a claim without an answer is taken to be its dead process's. No request works that long."""

HEADER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST},
    "description": "A value of your own, new for each thing to be done. Repeating the request with it does nothing "
    "again and gives the first answer again, for a day.",
}

# Claims are told apart by the database's own time, which no virtual clock bends.
CLAIM = f"""
INSERT INTO idempotent_answer AS a (api_key_id, key, request, status, headers, created_at)
VALUES (:caller, :key, :request, 0, '{{}}', clock_timestamp())
ON CONFLICT (api_key_id, key) DO UPDATE
SET request = EXCLUDED.request, status = 0, headers = '{{}}', body = NULL, created_at = EXCLUDED.created_at
WHERE a.created_at < clock_timestamp() - interval '1 day'
   OR (a.status = 0 AND a.request = EXCLUDED.request
       AND a.created_at < clock_timestamp() - make_interval(secs => {TAKEN_OVER}))
"""


class Once:
    """One request under an Idempotency-Key."""

    def __init__(self, runtime: Runtime, caller: Caller, key: str) -> None:
        if not 0 < len(key) <= LONGEST or not key.isascii() or not key.isprintable():
            message = f"1 to {LONGEST} printable ASCII characters are needed"
            error = FieldError(field="Idempotency-Key", message=message)
            raise Problem(422, "invalid", f"Idempotency-Key: {message}", errors=[error])
        self._runtime = runtime
        self._caller = caller.origin
        self._key = key
        self._context = f"answer:{caller.origin}:{key}"

    async def answer(self, request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
        """Work on the request, or answer as the first time. Raises Problem 409 and 422."""
        digest = hashlib.sha256()
        for part in (request.method, request.url.path, request.url.query):
            digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
        digest.update(await request.body())
        fingerprint = digest.hexdigest()
        async with self._runtime.database.read() as connection:
            claimed = await execute(connection, CLAIM, caller=self._caller, key=self._key, request=fingerprint)
            row = (
                None
                if claimed
                else await fetch_one(
                    connection,
                    """SELECT request, status, headers, body FROM idempotent_answer
                       WHERE api_key_id = :caller AND key = :key""",
                    caller=self._caller,
                    key=self._key,
                )
            )
        if claimed:
            # what must not happen twice even if this process dies now: the effect can be keyed with it
            request.state.once = f"{self._caller}:{self._key}:{fingerprint}"
            return await self._work(request, handler)
        if row is not None and row["request"] != fingerprint:
            raise Problem(422, "key-reused", "This Idempotency-Key was used for another request. Use a new one.")
        if row is None or row["status"] == 0:
            detail = "The first request with this Idempotency-Key is being worked on, or was interrupted."
            raise Problem(409, "in-progress", detail, headers={"Retry-After": "2"})
        body = base64.b64decode(self._runtime.vault.unseal(row["body"], self._context).get("body", ""))
        return Response(body, row["status"], {**row["headers"], "Idempotency-Replayed": "true"})

    async def _work(self, request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
        done = False
        try:
            response = await handler(request)
            done = 200 <= response.status_code < 300
            if done:
                await self._keep(response)
            return response
        finally:
            if not done:
                await self._release()

    async def _keep(self, response: Response) -> None:
        headers = {name: value for name, value in response.headers.items() if name in KEPT_HEADERS}
        sealed = self._runtime.vault.seal(
            {"body": base64.b64encode(bytes(response.body)).decode("ascii")}, self._context
        )
        await self._settle(
            """UPDATE idempotent_answer SET status = :status, headers = CAST(:headers AS jsonb), body = :body
               WHERE api_key_id = :caller AND key = :key""",
            status=response.status_code,
            headers=as_json(headers),
            body=sealed,
        )

    async def _release(self) -> None:
        await self._settle("DELETE FROM idempotent_answer WHERE api_key_id = :caller AND key = :key AND status = 0")

    async def _settle(self, statement: str, **values: Any) -> None:
        try:
            async with self._runtime.database.read() as connection:
                await execute(connection, statement, caller=self._caller, key=self._key, **values)
        except SQLAlchemyError as error:
            # the answer is the caller's all the same; the claim ends by itself
            log.warning("the answer to an Idempotency-Key was not kept: %s", type(error).__name__)
