"""Checks of reading and polling under faults, and of setting up: on the twin, for sources and helpdesks alike."""

from __future__ import annotations

import json
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import httpx2

from gateway_schemas.errors import GatewayError, Malformed, Reauthorise, Rejected, Retry
from gateway_schemas.testing.failure import found, needs, staged, unless
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.testing.stage import Stage

_ODD_HEADERS = ("", "abc", "-1", "1e999", "9" * 30, "NaN", "2026-11-23", "1,2;w=3")
_HEADERS = (
    "retry-after", "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset", "x-ratelimit-limit",
    "x-ratelimit-remaining", "x-ratelimit-total", "x-ratelimit-reset", "ratelimit-limit", "ratelimit-remaining",
    "ratelimit-reset", "rate-limit", "zendesk-ratelimit-tickets-index", "x-app-usage", "x-business-use-case-usage",
)  # fmt: skip


class TroubleChecks(PluginContract):
    """The provider refuses, is slow, breaks off; the process is restarted."""

    @staged
    async def test_refused_credentials_not_told(self, stage: Stage[Any, Any]) -> None:
        """Polling with credentials that are refused."""
        needs(stage.capabilities.poll, "poll")
        stage.adapter.revoke()
        for stream in stage.capabilities.streams:
            asked = len(stage.adapter.twin.requests)
            outcome = await stage.attempt(stage.plugin.poll(stream, None))
            unless(
                isinstance(outcome, Reauthorise) or asked == len(stage.adapter.twin.requests),
                "refused_credentials_not_told",
                f"poll of {stream} with refused credentials gives {_named(outcome)}",
            )

    @staged
    async def test_rate_limit_ignored(self, stage: Stage[Any, Any]) -> None:
        """429 while polling, with Retry-After in seconds and as a date."""
        needs(stage.capabilities.poll, "poll")
        stream = stage.capabilities.streams[0]
        at = format_datetime((stage.time.now() + timedelta(seconds=240)).replace(microsecond=0), usegmt=True)
        for header, wait in (("120", 120), (at, 240)):
            stage.strike("status_before", stage.adapter.reading, status=429, headers={"retry-after": header}, times=9)
            outcome = await stage.attempt(stage.plugin.poll(stream, None))
            stage.adapter.twin.faults.clear()
            _waits(outcome, wait, "rate_limit_ignored", f"poll met 429 with Retry-After: {header}")

    @staged
    async def test_rate_limit_ignored_in_other_words(self, stage: Stage[Any, Any]) -> None:
        """Too many requests, as this provider says it, while polling."""
        needs(stage.capabilities.poll, "poll")
        needs(stage.adapter.too_many, "a way of its own to say that there were too many requests (`too_many`)")
        status, body = stage.adapter.too_many
        stage.strike("status_before", stage.adapter.reading, status=status, body=body, times=9)
        outcome = await stage.attempt(stage.plugin.poll(stage.capabilities.streams[0], None))
        what = f"poll met {status} {body!r} and gives {_named(outcome)}"
        unless(isinstance(outcome, Retry) and outcome.after, "rate_limit_ignored", what)

    @staged
    async def test_read_failure_swallowed(self, stage: Stage[Any, Any]) -> None:
        """Polling while the provider fails, breaks off or answers what is no document."""
        needs(stage.capabilities.poll, "poll")
        twin = stage.adapter.twin
        for stream in stage.capabilities.streams:
            for kind, more in (
                ("status_before", {"status": 500}),
                ("status_before", {"status": 503}),
                ("status_before", {"status": 200, "body": b"<html>maintenance</html>"}),
                ("status_before", {"status": 200, "body": b""}),
                ("timeout_after", {}),
                ("drop_after", {}),
            ):
                faulty: Any = kind
                stage.strike(faulty, stage.adapter.reading, times=9, **more)
                outcome = await stage.attempt(stage.plugin.poll(stream, None))
                struck = any(fault.times is not None and fault.times < 9 for fault in twin.faults)
                twin.faults.clear()
                if struck:
                    what = f"poll of {stream} met {kind} {more.get('status', '')} {more.get('body', b'')!r}"
                    unless(
                        isinstance(outcome, Retry | Malformed),
                        "read_failure_swallowed",
                        f"{what} and gives {_named(outcome)}",
                    )

    @staged
    async def test_rate_headers_crash(self, stage: Stage[Any, Any]) -> None:
        """Every answer's headers are read; odd ones tell nothing."""
        plugin = stage.plugin
        for value in _ODD_HEADERS:
            response = httpx2.Response(200, headers=dict.fromkeys(_HEADERS, value))
            try:
                for reading in plugin.limits_of(response, "*"):
                    stage.time.now() + (reading.resets_at - stage.time.now() if reading.resets_at else timedelta())
            except Exception as error:
                found("rate_headers_crash", f"rate-limit headers of {value!r}: {type(error).__name__}: {error}")

    @staged
    async def test_stream_unknown_accepted(self, stage: Stage[Any, Any]) -> None:
        """Only declared streams are polled."""
        needs(stage.capabilities.poll and len(stage.capabilities.streams) > 1, "several streams")
        outcome = await stage.attempt(stage.plugin.poll("no-such-stream", None))
        unless(
            isinstance(outcome, Rejected),
            "stream_unknown_accepted",
            f"poll of the stream no-such-stream gives {_named(outcome)}",
        )

    @staged
    async def test_health_wrong(self, stage: Stage[Any, Any]) -> None:
        """A good connection is healthy; one whose credentials are refused is not, and says how to mend it."""
        await stage.install()
        health = await stage.attempt(stage.plugin.check())
        unless(not isinstance(health, GatewayError), "health_wrong", f"check raises {_named(health)}")
        unless(getattr(health, "ok", False), "health_wrong", f"a good connection is not healthy: {health}")
        if not self.proves_credentials:
            return
        stage.adapter.revoke()
        health = await stage.attempt(stage.plugin.check())
        unless(
            not isinstance(health, GatewayError), "health_wrong", f"with refused credentials check raises {health!r}"
        )
        unless(not getattr(health, "ok", True), "health_wrong", "with refused credentials check says that all is well")
        findings = getattr(health, "findings", ())
        unless(
            any(one.severity == "error" and one.message and one.mend for one in findings),
            "health_wrong",
            f"with refused credentials check names no error with its mend: {findings}",
        )

    @staged
    async def test_health_wrong_when_unreachable(self, stage: Stage[Any, Any]) -> None:
        """A provider that cannot be reached, or fails, is said and not raised."""
        for times in range(2):
            if times == 0 and stage.transport is not None:
                stage.transport.unreachable = True
            else:
                stage.strike("status_before", (".*", ".*"), status=503, times=None)
            health = await stage.attempt(stage.plugin.check())
            if stage.transport is not None:
                stage.transport.unreachable = False
            # an error named by its recovery tells as much as a finding
            told = isinstance(health, GatewayError) or any(one.severity != "info" for one in health.findings)
            unless(told, "health_wrong", "check says that all is well at a provider that fails")

    @staged
    async def test_dry_run_changes(self, stage: Stage[Any, Any]) -> None:
        """A dry run of the install writes nothing."""
        before = _changes(stage)
        report = await stage.attempt(stage.plugin.install(dry_run=True))
        unless(not isinstance(report, GatewayError), "dry_run_changes", f"a dry run raises {_named(report)}")
        after = _changes(stage)
        unless(before == after, "dry_run_changes", "a dry run of the install changed something at the provider")

    @staged
    async def test_install_repeats(self, stage: Stage[Any, Any]) -> None:
        """Installing again makes nothing new."""
        await stage.install()
        config, app = stage.config, stage.app
        made = _changes(stage)
        report = await stage.attempt(stage.plugin.install(dry_run=False))
        if isinstance(report, GatewayError):
            found("install_repeats", f"installing again raises {report!r}")
        steps = [step for step in report.steps if step.action in ("create", "delete")]
        unless(not steps, "install_repeats", f"installing again does {[(s.action, s.what) for s in steps]}")
        stage.installed["config"] |= report.config
        stage.installed["app"] |= report.app_config
        unless((config, app) == (stage.config, stage.app), "install_repeats", "installing again gives another config")
        again = _changes(stage)
        unless(made == again, "install_repeats", "installing again changed something at the provider")

    @staged
    async def test_error_not_named(self, stage: Stage[Any, Any]) -> None:
        """Whatever the provider answers to reads, the plugin says it in an error of the contract, or goes on."""
        needs(stage.capabilities.poll, "poll")
        for status in (302, 304, 400, 402, 403, 404, 405, 409, 410, 418, 425, 451, 500, 502, 521, 599):
            for body in (b"", b"{}"):
                stage.strike("status_before", stage.adapter.reading, status=status, body=body, times=9)
                await stage.attempt(stage.plugin.poll(stage.capabilities.streams[0], None))
                stage.adapter.twin.faults.clear()
        for body in (b"[]", b"null", b"7", b'"x"', b'{"data": 7}', b'{"data": [null], "error": {}}', b"[" * 5_000):
            stage.strike("status_before", stage.adapter.reading, status=200, body=body, times=9)
            await stage.attempt(stage.plugin.poll(stage.capabilities.streams[0], None))
            stage.adapter.twin.faults.clear()

    @staged
    async def test_secret_in_error(self, stage: Stage[Any, Any]) -> None:
        """Refused, interrupted and odd requests; and configurations that cannot be read. The stage searches all."""
        for kind, status in (("status_before", 401), ("status_before", 500), ("drop_after", 0), ("status_before", 418)):
            faulty: Any = kind
            stage.strike(faulty, (".*", ".*"), status=status, times=None)
            for stream in stage.capabilities.streams if stage.capabilities.poll else ():
                await stage.attempt(stage.plugin.poll(stream, None))
            await stage.attempt(stage.plugin.check())
            await stage.attempt(stage.plugin.install(dry_run=True))
            stage.adapter.twin.faults.clear()
        secrets = stage.secrets()
        for model, values in ((type(stage.config), stage.adapter.config()), (type(stage.app), stage.adapter.app())):
            for name in values or {}:
                for changed in ({**(values or {}), name: ["odd"]}, {**(values or {}), "kit_no_such_field": 1}):
                    try:
                        getattr(model, "model_validate", dict)(changed)
                    except ValueError as error:
                        shown = [secret for secret in secrets if secret in str(error)]
                        what = "a configuration that cannot be read shows a secret (`hide_input_in_errors`)"
                        unless(not shown, "secret_in_error", what)

    def test_pure_method_uses_network(self) -> None:
        """Reading a delivery and proving a request ask nobody."""
        for name in self.recordings.files:
            try:
                self.recordings.says(name)
            except RuntimeError as error:
                found("pure_method_uses_network", f"{name}: {error}")

    @staged
    async def test_host_not_declared(self, stage: Stage[Any, Any]) -> None:
        """Every request goes to a declared host."""
        plugin, (config, app) = stage.plugin_class, (stage.config, stage.app)
        hosts = tuple(host.rstrip("/") for host in plugin.hosts_of(config, app))
        await stage.install()
        await stage.attempt(stage.plugin.check())
        await self.everything(stage)
        needs(stage.transport, "a twin over HTTP in this process")
        assert stage.transport is not None
        for request in stage.transport.requests:
            url = str(request.url)
            unless(url.startswith(hosts), "host_not_declared", f"{request.method} {url} is not below {hosts}")

    async def everything(self, stage: Stage[Any, Any]) -> None:
        """Do once whatever the plugin can do. Each kind of contract says what that is."""


def _named(outcome: object) -> str:
    if isinstance(outcome, GatewayError):
        return f"{type(outcome).__name__}({outcome.reason!r})"
    return type(outcome).__name__


def _waits(outcome: object, seconds: int, fault: str, what: str) -> None:
    unless(isinstance(outcome, Retry), fault, f"{what} and gives {_named(outcome)}")
    after = outcome.after.total_seconds() if isinstance(outcome, Retry) and outcome.after is not None else None
    close = after is not None and seconds - 2 <= after <= seconds + 60
    unless(close, fault, f"{what}: Retry(after={after}) instead of about {seconds} s")


def _changes(stage: Stage[Any, Any]) -> tuple[int, str]:
    """What there is at the provider; that tokens were renewed is no change."""
    twin = stage.adapter.twin
    effects = sum("token" not in effect.kind for effect in twin.ledger)
    return effects, json.dumps(twin.snapshot(), sort_keys=True, default=str)
