"""Which apps the key can act for, whether their reviews can be read, and what mends it."""

from __future__ import annotations

from typing import Any, Literal

from gateway_app_store import budgets
from gateway_app_store.api import Api
from gateway_app_store.normalise import normalise
from gateway_app_store.refusals import AGREEMENTS
from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry
from gateway_schemas.plugin import AccountRef, Health, HealthFinding, newest_of
from gateway_schemas.webhook import RawDelivery

_PAGE = 200
_SEEN = 5
_MOST_PAGES = 25


async def discover(api: Api) -> list[AccountRef]:
    """The apps that the key can see. Raises GatewayError."""
    found: list[AccountRef] = []
    path: str | None = "v1/apps"
    params: dict[str, str] | None = {"fields[apps]": "name,bundleId", "limit": str(_PAGE)}
    for _ in range(_MOST_PAGES):
        if path is None:
            break
        body = await api.get(path, bucket=budgets.APPS, params=params)
        for value in body.get("data") or ():
            if not isinstance(value, dict) or not isinstance(value.get("id"), str):
                continue
            attributes = value.get("attributes")
            named: dict[str, Any] = attributes if isinstance(attributes, dict) else {}
            found.append(
                AccountRef(
                    external_id=value["id"],
                    name=str(named.get("name") or value["id"]),
                    handle=str(named["bundleId"]) if named.get("bundleId") else None,
                    config={"app_id": value["id"]},
                )
            )
        path, params = api.next_of(body), None
    return found


async def check(api: Api) -> Health:
    """Ask for the app, then for a review of it. Whether the key's role may respond is told at a response only."""
    try:
        await api.get(f"v1/apps/{api.config.app_id}", bucket=budgets.APPS, params={"fields[apps]": "name"})
        body, _ = await api.reviews(_SEEN)
        page = RawDelivery("probe", "poll", body, api.now(), stream="reviews", note=await api.note("list"))
        newest = newest_of(normalise(page), _SEEN)
    except GatewayError as error:
        finding = _problem(api, error)
        return Health(ok=finding.severity != "error", findings=(finding,))
    return Health(ok=True, newest=newest)


def _problem(api: Api, error: GatewayError) -> HealthFinding:
    match error:
        case Reauthorise():
            mend = "look at key id and issuer id under Users and Access, Integrations; make a new key if it is revoked"
            return _finding("error", error.code, error.reason, mend)
        case Retry() if error.code == AGREEMENTS:
            return _finding("error", "agreement", error.reason, "let the account holder accept it in App Store Connect")
        case Retry():
            return _finding("warning", error.code, error.reason, "nothing to do: it is tried again")
        case Gone():
            mend = f"the key's team has no app {api.config.app_id}; `discover` lists those that it has"
            return _finding("error", "app_missing", error.reason, mend)
        case Rejected():
            mend = "give the key the role Customer Support, App Manager or Admin, with access to this app"
            return _finding("error", "not_permitted", error.reason, mend)
    return _finding("error", error.code, error.reason, "look at what Apple says, then check again")


def _finding(severity: Literal["info", "warning", "error"], code: str, message: str, mend: str) -> HealthFinding:
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern="read")
