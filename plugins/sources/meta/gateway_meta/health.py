"""Whether an account can be read, answered and told of; and what mends it."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway_meta.api import Api
from gateway_meta.installing import Installer
from gateway_schemas.errors import GatewayError, Reauthorise, Rejected, Retry
from gateway_schemas.plugin import Health, HealthFinding

_SOON = timedelta(days=7)
_PAGE_PERMISSIONS = (
    "pages_read_engagement",
    "pages_read_user_content",
    "pages_manage_engagement",
    "pages_manage_metadata",
)
_INSTAGRAM_PERMISSIONS = ("instagram_basic", "instagram_manage_comments", "pages_manage_metadata")


async def check(api: Api, door: str | None) -> Health:
    """Look at the token, the account, what the token may do, the App's webhook and the account's subscription."""
    findings: list[HealthFinding] = []
    installer = Installer(api, door)
    try:
        await _account(api)
        findings += await (_renewal(api) if api.config.instagram_login else _token(api))
        findings += await _subscription(installer)
    except Reauthorise as error:
        findings.append(_finding("error", "token_refused", error.reason, "authorise the account again"))
    except GatewayError as error:
        findings.append(_trouble(error))
    try:
        findings += await _webhook(installer)
    except Reauthorise as error:
        mend = "enter the App's current id and secret"
        findings.append(_finding("error", "app_refused", error.reason, mend))
    except GatewayError as error:
        findings.append(_trouble(error))
    return Health(ok=not any(one.severity == "error" for one in findings), findings=tuple(findings))


async def _account(api: Api) -> None:
    field = "user_id,username" if api.config.instagram_login else "id"
    path = "me" if api.config.instagram_login else api.account
    _, answer = await api.get(path, {"fields": field})
    found = str(answer.get("user_id") or answer.get("id"))
    if found != api.account:
        reason = f"the token belongs to {found}, not to {api.account}: authorise the right account"
        raise Rejected(reason, code="wrong_account")


async def _token(api: Api) -> list[HealthFinding]:
    """What Meta knows of the token (`debug_token`): when it ends, and which permissions it has."""
    token = await api.account_token()
    _, answer = await api.get("debug_token", {"input_token": token}, who="app")
    data = answer.get("data")
    data = data if isinstance(data, dict) else {}
    findings = []
    if str(data.get("app_id", api.app.app_id)) != api.app.app_id:
        message = f"the token was made for the App {data.get('app_id')}, not for {api.app.app_id}"
        findings.append(_finding("error", "wrong_app", message, "authorise the account for this App"))
    for name, what in (("expires_at", "the token ends"), ("data_access_expires_at", "access to data ends")):
        until = _moment(data.get(name))
        if until is not None and until - api.now() < _SOON:
            message = f"{what} on {until:%Y-%m-%d %H:%M} UTC"
            mend = "authorise the account again before that"
            findings.append(_finding("warning", "token_ends", message, mend, until))
    scopes = data.get("scopes")
    if isinstance(scopes, list) and (missing := [name for name in _permissions(api) if name not in scopes]):
        message = f"the token lacks {', '.join(missing)}"
        findings.append(
            _finding("error", "permission_missing", message, "authorise the account with these permissions")
        )
    return findings


def _permissions(api: Api) -> list[str]:
    if api.config.instagram:
        return [*_INSTAGRAM_PERMISSIONS, *(["instagram_manage_messages"] if api.config.messages else [])]
    return [*_PAGE_PERMISSIONS, *(["pages_messaging"] if api.config.messages else [])]


async def _renewal(api: Api) -> list[HealthFinding]:
    """Renew the token of Instagram Login in time: it lives 60 days, and can be renewed when it is a day old."""
    findings = []
    if api.app.instagram_app_secret is None:
        message = "the App has no instagram_app_secret, with which Meta signs webhooks of this account"
        findings.append(_finding("error", "instagram_secret_missing", message, "enter it in the App's configuration"))
    if api.tokens.renewal_due:
        # too young to be renewed, or not now: the next check tries again
        with contextlib.suppress(Rejected, Retry):
            await api.renew()
    until = api.tokens.expires_at
    if until is not None and until - api.now() < _SOON:
        message = f"the token ends on {until:%Y-%m-%d %H:%M} UTC and could not be renewed"
        mend = "authorise the account again before that"
        findings.append(_finding("warning", "token_ends", message, mend, until))
    return findings


async def _webhook(installer: Installer) -> list[HealthFinding]:
    webhook = await installer.webhook()
    object = installer.object
    if webhook is None:
        message = f"the App has no webhook for {object}"
        return [_finding("error", "webhook_missing", message, "install again")]
    findings = []
    if installer.door is not None and webhook.get("callback_url") != installer.door:
        message = f"the App tells its {object} events to {webhook.get('callback_url')}"
        findings.append(_finding("error", "webhook_elsewhere", message, "take that away at Meta, then install again"))
    if not webhook.get("active"):
        message = f"the App's webhook for {object} is switched off"
        findings.append(_finding("error", "webhook_inactive", message, "see that the door is reachable, install again"))
    if missing := installer.lacking(webhook):
        message = f"the App's webhook does not tell of {', '.join(missing)}"
        findings.append(_finding("error", "webhook_fields", message, "install again"))
    return findings


async def _subscription(installer: Installer) -> list[HealthFinding]:
    has = await installer.subscribed()
    missing = [field for field in installer.account_fields if field not in (has or ())]
    if not missing:
        return []
    what = "is not subscribed to the account" if has is None else f"is not subscribed to {', '.join(missing)}"
    return [_finding("error", "subscription_missing", f"the App {what}", "install again")]


def _moment(value: Any) -> datetime | None:
    """Seconds since 1970; 0 stands for never."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**11:
        return None
    return datetime.fromtimestamp(value, UTC)


def _trouble(error: GatewayError) -> HealthFinding:
    if isinstance(error, Retry):
        return _finding("warning", error.code, error.reason, "nothing to do: it is tried again")
    return _finding("error", error.code, error.reason, "look at what Meta says, then check again")


_PUSH = ("webhook_", "subscription_", "app_refused", "instagram_secret_missing")
_ACCESS = ("token_", "permission_", "wrong_")


def _finding(severity: Any, code: str, message: str, mend: str, at: datetime | None = None) -> HealthFinding:
    concern: Any = "push" if code.startswith(_PUSH) else "access" if code.startswith(_ACCESS) else "other"
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern=concern, at=at)
