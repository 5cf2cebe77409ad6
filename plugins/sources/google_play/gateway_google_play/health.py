"""Whether reviews can be read and answered; and what mends it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from gateway_google_play.api import Api
from gateway_google_play.normalise import normalise
from gateway_google_play.reading import GAP
from gateway_google_play.refusals import SERVICE_DISABLED
from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry
from gateway_schemas.plugin import Health, HealthFinding, Newest, newest_of
from gateway_schemas.webhook import RawDelivery

_SEEN = 5


async def check(api: Api) -> Health:
    """Ask for a token, then for a few reviews. Whether they may be answered, Google tells at an answer only."""
    newest: tuple[Newest, ...] = ()
    findings: list[HealthFinding] = []
    try:
        body, _ = await api.reviews(_SEEN)
        page = RawDelivery("probe", "poll", body, api.now(), stream="reviews", note=api.note("list"))
        newest = newest_of(normalise(page), _SEEN)
    except GatewayError as error:
        findings.append(_problem(api, error))
    findings += _gap(await api.state.load())
    return Health(ok=not any(one.severity == "error" for one in findings), findings=tuple(findings), newest=newest)


def _problem(api: Api, error: GatewayError) -> HealthFinding:
    match error:
        case Reauthorise():
            mend = "make a new key for the service account in the Google Cloud console and enter its file"
            return _finding("error", error.code, error.reason, mend)
        case Retry() if error.code == SERVICE_DISABLED:
            return _finding("error", error.code, error.reason, "enable it, wait a few minutes, then check again")
        case Retry():
            return _finding("warning", error.code, error.reason, "nothing to do: it is tried again")
        case Gone():
            mend = "look at package_name: it must be an app of the account that the service account was invited into"
            return _finding("error", "app_missing", error.reason, mend)
        case Rejected():
            email = api.app.account["client_email"]
            mend = f"invite {email} in the Play Console, for this app, with the permission “Reply to reviews”"
            return _finding("error", "not_permitted", error.reason, mend)
    return _finding("error", error.code, error.reason, "look at what Google says, then check again")


def _gap(document: dict[str, Any]) -> Iterator[HealthFinding]:
    gap = document.get(GAP)
    if isinstance(gap, list) and len(gap) == 2:
        message = f"Google lists a week of reviews; those written from {gap[0][:16]} to {gap[1][:16]} were never seen"
        yield _finding("warning", "gap", message, "read them in the Play Console, or in its monthly CSV reports")


def _finding(severity: Literal["info", "warning", "error"], code: str, message: str, mend: str) -> HealthFinding:
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern="read")
