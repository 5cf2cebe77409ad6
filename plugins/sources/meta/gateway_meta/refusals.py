"""What Meta's refusals mean, by code and subcode (Graph API, "Handling Errors"; Messenger Platform, "Error Codes")."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx2
from pydantic import ValidationError

from gateway_meta.budgets import wait
from gateway_meta.payloads import Payload
from gateway_schemas.errors import GatewayError, Gone, Hold, Reauthorise, Rejected, Retry, Unknown
from gateway_schemas.http import answer

_TRANSIENT = {1, 2}
_LIMITS = {4, 17, 32, 341, 613, *range(80000, 80015)}
_APP_LIMITS = {4, 341}
_TOKEN = {102, 104, 190}
_NO_OBJECT = 33
_WINDOW = {2018278, 2018065, 2018109, 2534022}
"""Subcodes of a message that came too late."""
_PAGE_RESTRICTED = 1893063
_TOKEN_REASONS = {
    458: "the App was removed from the account",
    459: "the person has to log in at Facebook and pass a check",
    460: "the person changed their password",
    463: "it has expired",
    464: "the person has not confirmed their account",
    467: "it was taken back",
    492: "the person no longer has a role on the Page",
}
WINDOW_REASON = (
    "Meta lets a message be answered for 24 hours, or for 7 days with the Human Agent permission. "
    "Answer in public where the customer wrote in public, or wait until they write again."
)


class GraphError(Payload):
    """The `error` of an answer."""

    message: str = ""
    code: int = 0
    error_subcode: int | None = None
    error_user_msg: str | None = None
    is_transient: bool = False

    @property
    def words(self) -> str:
        """What Meta says of it, for people."""
        return self.error_user_msg or self.message or "without a reason"


def graph_error(response: httpx2.Response) -> GraphError | None:
    """The error in an answer; None where there is none that can be read."""
    try:
        return error_of(response.json())
    except (ValueError, RecursionError):
        return None


def error_of(body: Any) -> GraphError | None:
    """The error in a body."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return None
    try:
        return GraphError.model_validate(error)
    except ValidationError:
        return None


def told(error: GatewayError) -> GraphError | None:
    """The error of the answer that made a call raise this."""
    response = answer(error)
    return graph_error(response) if response is not None else None


def refusal(response: httpx2.Response, bucket: str, *, effect: bool) -> GatewayError | None:
    """What an answer means; None leaves it to the common table of statuses."""
    error = graph_error(response)
    if error is None:
        return None
    code, subcode, words = error.code, error.error_subcode, error.words
    name = f"graph_{code}" + (f"_{subcode}" if subcode else "")
    if code in _TOKEN:
        why = _TOKEN_REASONS.get(subcode or 0, "it is not valid")
        return Reauthorise(f"Meta refused the token: {why}. Authorise the account again", code=name)
    if code in _LIMITS:
        empty = None if code in _APP_LIMITS else bucket
        after = wait(response) or timedelta(minutes=5)
        return Retry(f"Meta allows no more calls of {bucket} now", after=after, bucket=empty, code=name)
    if code == 368:
        return Hold(f"Meta blocked the account from doing this for a while: {words}", code="blocked")
    if code == 2022:
        return Hold(f"Meta blocked the account from sending messages for a while: {words}", code="blocked")
    if subcode in _WINDOW:
        return Rejected(WINDOW_REASON, code="window_closed")
    if code == 10900:
        return Rejected("Meta takes one private reply to a comment, and it has one already", code="already_replied")
    if code == 10903:
        reason = "Meta takes no private reply to this: it is older than 7 days, or its author blocked the account"
        return Rejected(reason, code="not_repliable")
    if subcode == _PAGE_RESTRICTED:
        return Rejected(f"Meta has restricted the Page: {words}", code="page_restricted")
    if code == 551:
        return Rejected("the person takes no messages from this account at present", code="unavailable")
    if code in (100, 803) and (code == 803 or subcode == _NO_OBJECT):
        return Gone(f"Meta has no such thing, or does not show it to this account: {words}", code=name)
    if code in _TRANSIENT or error.is_transient:
        reason = f"Meta had trouble: {words}"
        return Unknown(reason, code=name) if effect else Retry(reason, code=name)
    if code == 10 or 200 <= code <= 299 or code == 3:
        return Rejected(f"Meta misses a permission: {words}. `check` says which the token lacks", code="no_permission")
    if response.status_code >= 500:
        return None
    return Rejected(f"Meta refused it: {words}", code=name)
