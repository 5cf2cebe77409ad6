"""What runs in the sandbox's child process: plugins, and as little of the host as makes them.

A child that was killed is replaced while others wait for it, so nothing is imported here that takes long to import.
"""

from __future__ import annotations

import ctypes
import pickle
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from gateway.endpoints import ConfigInvalid, Endpoint, PluginMissing, build
from gateway.registry import Registry
from gateway_schemas.decision import Case, Finding
from gateway_schemas.errors import GatewayError, Rejected
from gateway_schemas.helpdesk import HelpdeskNews
from gateway_schemas.interaction import Normalised
from gateway_schemas.reply import Draft, Rendered
from gateway_schemas.source import Source
from gateway_schemas.text import clean, clean_model
from gateway_schemas.time import open_time
from gateway_schemas.webhook import RawDelivery

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Outcome:
    """What became of one pure call: its values, or why there are none."""

    values: Sequence[Any] = ()
    code: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether it went well."""
        return not self.code


@dataclass(frozen=True)
class PolicyCall:
    """One policy to run on one thing."""

    type: str
    params: dict[str, Any]
    point: str
    case: Case
    subject: Any


_registry: Registry
_time: Any
_instances: dict[tuple[Any, int], Any] = {}


def start(time_file: str | None, modules: tuple[str, ...]) -> None:
    """Called once in a new child, before anything else."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a Python handler would wait for a regular expression to end
    _end_with_parent()
    global _registry, _time
    _registry = Registry.load(modules=modules)
    _time = open_time(time_file)


def _end_with_parent() -> None:
    """Code that hangs never sees that its worker is gone; Linux kills the child then, wherever the code is."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def nothing() -> None:
    """Proves that the child is up."""


def _instance(endpoint: Endpoint) -> Any:
    key = (endpoint.id, endpoint.version)
    if key not in _instances:
        for stale in [old for old in _instances if old[0] == endpoint.id]:
            del _instances[stale]
        _instances[key] = build(_registry, endpoint, _time)
    return _instances[key]


def _guarded(call: Any) -> bytes:
    """One call's outcome, packed here: a result that cannot leave the process concerns its own row only."""
    try:
        return pickle.dumps(Outcome(values=[clean_model(value) for value in call()]))
    except GatewayError as error:
        outcome = Outcome(code=error.code, reason=error.reason)
    except (PluginMissing, ConfigInvalid) as error:
        outcome = Outcome(code="misconfigured", reason=str(error))
    except BaseException as error:  # the plugin's bug (`sys.exit` is one), recorded on the row it concerns
        where = traceback.extract_tb(error.__traceback__)[-1]
        outcome = Outcome(
            code="plugin_bug",
            reason=f"{type(error).__name__} in {where.name} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})",
        )
    # a plugin may quote what it was sent
    return pickle.dumps(replace(outcome, code=clean(outcome.code), reason=clean(outcome.reason)))


def normalise(endpoint: Endpoint, deliveries: Sequence[RawDelivery]) -> list[bytes]:
    """Each delivery's news, as packed outcomes."""

    def read(delivery: RawDelivery) -> Sequence[Normalised | HelpdeskNews]:
        return list(_instance(endpoint).normalise(delivery))

    return [_guarded(lambda delivery=delivery: read(delivery)) for delivery in deliveries]


def render(endpoint: Endpoint, drafts: Sequence[Draft]) -> list[bytes]:
    """Each draft's rendered form, as packed outcomes."""

    def write(draft: Draft) -> list[Rendered]:
        source = _instance(endpoint)
        if not isinstance(source, Source):
            raise Rejected("this connection is no source", code="no_replies")
        return [source.render(draft)]

    return [_guarded(lambda draft=draft: write(draft)) for draft in drafts]


def clean_picture(_: None, pictures: Sequence[bytes]) -> list[bytes]:
    """Each picture without its metadata and its true media type, as packed outcomes."""

    def clean_one(picture: bytes) -> Outcome:
        from gateway.files.images import cleaned

        try:
            return Outcome(values=cleaned(picture))
        except GatewayError as error:
            return Outcome(code=error.code, reason=error.reason)

    return [pickle.dumps(clean_one(picture)) for picture in pictures]


def policies(_: None, calls: Sequence[PolicyCall]) -> list[bytes]:
    """Each call's findings or effects, as packed outcomes."""

    def run(call: PolicyCall) -> list[Finding]:
        plugin = _registry.policies.get(call.type)
        if plugin is None:
            raise PluginMissing(f"policy type {call.type!r} is not installed or is broken")
        params: BaseModel = plugin.Params.model_validate(call.params)
        policy = plugin(params)
        return list(getattr(policy, call.point)(call.case, call.subject))

    return [_guarded(lambda call=call: run(call)) for call in calls]
