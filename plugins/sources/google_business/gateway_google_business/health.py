"""Whether reviews can be read, answered and told of; and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway_google_business.api import Api, readable
from gateway_google_business.installing import REVIEW_TYPES, accounts, notification_setting
from gateway_google_business.pubsub import PUBLISHER, Topic, topic_problem
from gateway_google_business.reading import Reader
from gateway_google_business.refusals import NOT_APPROVED, SERVICE_DISABLED
from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry
from gateway_schemas.plugin import Health, HealthFinding

_NAMED = 5


async def check(api: Api) -> Health:
    """Look at token, approval, account, locations and notifications, in this order; each needs the one before."""
    try:
        findings = [*await _account(api), *await _locations(api), *await _notifications(api)]
    except Reauthorise as error:
        findings = [_finding("error", error.code, error.reason, "authorise the account again")]
    except Retry as error:
        findings = [_unavailable(error)]
    except GatewayError as error:
        findings = [_finding("error", error.code, error.reason, "look at what Google says, then check again")]
    return Health(ok=not any(one.severity == "error" for one in findings), findings=tuple(findings))


def _unavailable(error: Retry) -> HealthFinding:
    if error.code == NOT_APPROVED:
        mend = "apply for access to the Business Profile APIs with this project; until then its quota is 0"
        return _finding("error", error.code, error.reason, mend)
    if error.code == SERVICE_DISABLED:
        return _finding("error", error.code, error.reason, "enable it, wait a few minutes, then check again")
    return _finding("warning", error.code, error.reason, "nothing to do: it is tried again")


async def _account(api: Api) -> list[HealthFinding]:
    mine = next((one for one in await accounts(api) if one.get("name") == api.account), None)
    if mine is None:
        message = f"the token cannot act for {api.account}"
        return [
            _finding("error", "wrong_account", message, "authorise as somebody who manages it; `discover` lists them")
        ]
    return []


async def _locations(api: Api) -> list[HealthFinding]:
    known = await api.locations(fresh=True)
    findings: list[HealthFinding] = []
    lost = [id for id in api.config.locations if f"locations/{id}" not in known]
    if lost:
        message = f"the account does not have {_some(lost)}"
        findings.append(
            _finding("error", "location_missing", message, "take them out of `locations`, or move them back")
        )
    if not known:
        findings.append(_finding("error", "no_locations", "there is no location to read", "add one, or name others"))
        return findings
    unverified = [place.title or name for name, place in known.items() if not readable(place)]
    if unverified:
        message = f"not verified, so that reviews are neither read nor answered: {_some(unverified)}"
        severity = "error" if len(unverified) == len(known) else "warning"
        findings.append(_finding(severity, "location_unverified", message, "verify them at business.google.com"))
    first = next((name for name, place in known.items() if readable(place)), None)
    if first is not None:
        findings += await _reviews(api, first)
    return findings


async def _reviews(api: Api, location: str) -> Sequence[HealthFinding]:
    """Reviews are another API than locations, with a quota and a switch of its own."""
    try:
        await Reader(api).list_reviews(location)
    except Retry as error:
        return [_unavailable(error)]
    except (Rejected, Gone) as error:
        mend = "have the person who authorised made an owner or manager of the location, then authorise again"
        return [_finding("error", "reviews_refused", error.reason, mend)]
    return []


async def _notifications(api: Api) -> Sequence[HealthFinding]:
    topic = api.app.pubsub_topic
    if topic is None:
        message = "reviews come by polling, a few minutes late"
        return [_finding("info", "no_push", message, "enter pubsub_topic, then install, to hear of them at once")]
    findings: list[HealthFinding] = []
    try:
        setting = await notification_setting(api)
    except (Rejected, Gone) as error:
        return [_finding("warning", "notifications_refused", error.reason, "let an owner of the account authorise")]
    told = set(setting.get("notificationTypes") or ())
    if setting.get("pubsubTopic") != topic or not set(REVIEW_TYPES) <= told:
        message = f"Google does not tell of this account's reviews on {topic}"
        findings.append(_finding("error", "notifications_missing", message, "install again"))
    match await topic_problem(Topic(api, topic)):
        case "topic_missing":
            findings.append(_finding("error", "topic_missing", f"there is no {topic}", "make it, then install again"))
        case "topic_closed":
            message = f"Google may not publish on {topic}"
            mend = f"grant {PUBLISHER} the role Pub/Sub Publisher on it"
            findings.append(_finding("error", "topic_closed", message, mend))
    if api.app.push_audience is None or api.app.push_service_account is None:
        message = "push requests cannot be checked, so all of them are refused"
        findings.append(_finding("error", "push_unverifiable", message, "enter push_audience and push_service_account"))
    return findings


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


_PUSH = ("notifications_", "topic_", "push_")


def _finding(severity: Any, code: str, message: str, mend: str) -> HealthFinding:
    concern: Any = "push" if code.startswith(_PUSH) else "read"
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern=concern)
