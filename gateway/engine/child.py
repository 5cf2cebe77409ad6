"""What runs in the sandbox's child process: plugins, and as little of the host as makes them.

A child that was killed is replaced while others wait for it, so nothing is imported here that takes long to import.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from typing import Any, TypeVar

from gateway.endpoints import ConfigInvalid, Endpoint, PluginMissing, build
from gateway.engine.judge import Ask, Bench, Said, Spec
from gateway.engine.memory import keep
from gateway.registry import Registry
from gateway_schemas.conditions import ConditionError
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


_registry: Registry
_bench: Bench
_time: Any
_instances: dict[tuple[Any, int], Any] = {}


def start(time_file: str | None, modules: tuple[str, ...]) -> None:
    """Called once in a new child, before anything else."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the worker's to handle
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a Python handler would wait for a regular expression to end
    _end_with_parent()
    global _registry, _bench, _time
    _registry = Registry.load(modules=modules)
    _bench = Bench.of(_registry)
    _bench.warm()
    _time = open_time(time_file)
    keep()


def _end_with_parent() -> None:
    """Code that hangs never sees that its worker is gone; Linux kills the child then, wherever the code is.

    The server that forked it ends when nobody holds the pipe by which it was started, of which a child has the end too.
    """
    held = getattr(forkserver._forkserver, "_forkserver_alive_fd", None)
    if held is not None:
        os.close(held)
        forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]
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

    def values() -> Outcome:
        return Outcome(values=[clean_model(value) for value in call()])

    return _tried(lambda: pickle.dumps(values()), lambda code, reason: pickle.dumps(Outcome(code=code, reason=reason)))


T = TypeVar("T")


def _tried(call: Callable[[], T], failed: Callable[[str, str], T]) -> T:
    """What a plugin's code gives, or what `failed` makes of a code and a reason."""
    try:
        return call()
    except GatewayError as error:
        code, reason = error.code, error.reason
    except ConditionError as error:
        code, reason = "condition", str(error)
    except (PluginMissing, ConfigInvalid) as error:
        code, reason = "misconfigured", str(error)
    except BaseException as error:  # the plugin's bug (`sys.exit` is one), recorded on the row it concerns
        where = traceback.extract_tb(error.__traceback__)[-1]
        code = "plugin_bug"
        reason = f"{type(error).__name__} in {where.name} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"
    # a plugin may quote what it was sent
    return failed(clean(code), clean(reason))


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


def judge(specs: Sequence[Spec], asks: Sequence[Ask]) -> list[bytes]:
    """What the policies say of each thing, packed thing by thing."""

    def failed(code: str, reason: str) -> Said:
        return Said(code=code, reason=reason)

    def one(ask: Ask) -> bytes:
        said = _bench.judge(ask, specs, lambda call: _tried(call, failed))
        return _tried(lambda: pickle.dumps(said), lambda code, reason: pickle.dumps([failed(code, reason)] * len(said)))

    return [one(ask) for ask in asks]
