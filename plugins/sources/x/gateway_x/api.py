"""X's API for one account: whose token a call carries, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx2
from pydantic import ValidationError

from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry
from gateway_schemas.http import answer, call, json_object
from gateway_schemas.limits import BUCKET, retry_after
from gateway_schemas.plugin import Setup
from gateway_x.config import DEFAULT_BASE_URL, XApp, XConfig
from gateway_x.payloads import Problem
from gateway_x.tokens import Tokens

Who = Literal["app", "account"]

POST_FIELDS = {
    "tweet.fields": "author_id,conversation_id,created_at,edit_controls,entities,in_reply_to_user_id,lang,note_tweet,"
    "possibly_sensitive,referenced_tweets,reply_settings,attachments",
    "expansions": "author_id,referenced_tweets.id,attachments.media_keys",
    "user.fields": "name,username,profile_image_url,verified,public_metrics",
    "media.fields": "url,preview_image_url,type,alt_text,variants",
}
MESSAGE_FIELDS = {
    "dm_event.fields": "id,event_type,text,sender_id,dm_conversation_id,created_at,attachments,entities",
    "expansions": "sender_id,attachments.media_keys",
    "user.fields": "name,username,profile_image_url,verified,public_metrics",
    "media.fields": "url,preview_image_url,type,alt_text,variants",
}

_CAPPED_WAIT = timedelta(hours=1)


class Api:
    """Calls for one connection, with its account's token or the App's."""

    def __init__(
        self, setup: Setup[XConfig], config: XConfig, app: XApp, tokens: Tokens, http: httpx2.AsyncClient
    ) -> None:
        self.config = config
        self.app = app
        self.base_url = base_url(config, app)
        self._time = setup.time
        self._tokens = tokens
        self._http = http

    def now(self) -> datetime:
        """The current time."""
        return self._time.now()

    async def get(
        self, path: str, parameters: Mapping[str, str], *, who: Who, extensions: dict[str, Any]
    ) -> tuple[bytes, dict[str, Any]]:
        """Read something: its exact bytes, and what they say. Raises GatewayError."""
        response = await self._call("GET", path, who=who, effect=False, params=dict(parameters), extensions=extensions)
        return response.content, json_object(response)

    async def change(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        who: Who,
        extensions: dict[str, Any],
        effect: bool,
        expected: Collection[int] | None = None,
    ) -> dict[str, Any]:
        """Change something; with `effect`, what must not happen twice. Raises GatewayError."""
        request: dict[str, Any] = {"json": dict(body)} if body is not None else {}
        response = await self._call(
            method, path, who=who, effect=effect, expected=expected, extensions=extensions, **request
        )
        return json_object(response, effect=effect)

    async def append(self, path: str, index: int, segment: bytes, *, extensions: dict[str, Any]) -> None:
        """Upload one segment of a file, as a form. Raises GatewayError."""
        await self._call(
            "POST",
            path,
            who="account",
            effect=False,
            extensions=extensions,
            data={"segment_index": str(index)},
            files={"media": ("media", segment, "application/octet-stream")},
        )

    async def _call(self, method: str, path: str, *, who: Who, **request: Any) -> httpx2.Response:
        if who == "app":
            return await self._try(method, path, who, self.app.bearer_token.get_secret_value(), **request)
        token = await self._tokens.access(self.base_url)
        try:
            return await self._try(method, path, who, token, **request)
        except Reauthorise:
            if not self._tokens.renewable:
                raise
        # refused for its token, nothing happened: the same call may be made with another one
        return await self._try(method, path, who, await self._tokens.renew(token, self.base_url), **request)

    async def _try(self, method: str, path: str, who: Who, token: str, **request: Any) -> httpx2.Response:
        bucket = request["extensions"][BUCKET]
        return await call(
            self._http,
            method,
            self.base_url + path,
            now=self.now(),
            classify=lambda response: refusal(response, who, bucket, self.now()),
            headers={"authorization": f"Bearer {token}"},
            **request,
        )


def base_url(config: XConfig | None, app: XApp | None) -> str:
    """Where the API is: as the connection says, else the App, else X."""
    if config is not None and config.base_url is not None:
        return config.base_url
    return app.base_url if app is not None else DEFAULT_BASE_URL


def seconds(moment: datetime) -> str:
    """A time as X's parameters take it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def problems(response: httpx2.Response) -> list[Problem]:
    """The errors in an answer, in either of X's shapes; empty when it has none that can be read."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return []
    if not isinstance(body, dict):
        return []
    errors = body.get("errors")
    found = []
    for value in [body, *(errors if isinstance(errors, list) else [])]:
        try:
            problem = Problem.model_validate(value)
        except ValidationError:
            continue
        if problem.words or problem.type or problem.code is not None:
            found.append(problem)
    return found


def told(error: GatewayError) -> list[Problem]:
    """The errors in the answer that made a call raise this."""
    response = answer(error)
    return problems(response) if response is not None else []


def refusal(response: httpx2.Response, who: Who, bucket: str, now: datetime) -> GatewayError | None:
    """What an answer of X means, by its status and the problem it names; None leaves it to the common table."""
    found = problems(response)
    name = next((problem.name for problem in found if problem.name), "")
    code = name.replace("-", "_") or f"http_{response.status_code}"
    words = "; ".join(dict.fromkeys(problem.words for problem in found if problem.words)) or "without a reason"
    match response.status_code:
        case 401 if who == "app":
            return Reauthorise("X refused the App's bearer token: enter the current one", code="app_token_refused")
        case 401:
            return Reauthorise("X refused the account's token: authorise the account again", code="token_refused")
        case 402:
            return Retry(f"X wants to be paid first: {words}", after=_CAPPED_WAIT, code="payment_required")
        case 404 | 410:
            return Gone(f"X has no such thing: {words}", code=code)
        case 429:
            after = _wait(response, now)
            if name == "usage-capped":
                after = max(after or _CAPPED_WAIT, _CAPPED_WAIT)
            return Retry(f"X allows no more calls of {bucket} now", after=after, bucket=bucket, code=code)
        case 400 | 403 | 409 | 422:
            return Rejected(f"X refused it: {words}", code=code)
    return None


def _wait(response: httpx2.Response, now: datetime) -> timedelta | None:
    """How long X asks to wait: until the window starts anew, or what Retry-After says where that is longer."""
    waits = [retry_after(response.headers.get("retry-after"), now)]
    reset = response.headers.get("x-rate-limit-reset", "")
    if reset.isdecimal() and len(reset) < 12:
        waits.append(max(timedelta(), datetime.fromtimestamp(int(reset), UTC) - now))
    return max((wait for wait in waits if wait is not None), default=None)
