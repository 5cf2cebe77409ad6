"""The page on which a twin shows its state, and the endpoints behind it, under `/_twin`.

    GET    /_twin                  the page
    GET    /_twin/state            what there is at the provider: `Twin.snapshot()`
    GET    /_twin/ledger           every effect, in order
    GET    /_twin/requests         the newest requests with their status
    GET    /_twin/faults           single faults, schedule, webhooks and clock
    PUT    /_twin/faults           replace the single faults: a list of `Fault`
    PUT    /_twin/schedule         a `FaultSchedule`, or null
    PUT    /_twin/webhooks         `WebhookFaults`
    PUT    /_twin/clock            `{"skew_seconds": -420}`, where the twin was given a `SkewedTime`
    GET    /_twin/actions          what can be done, with its parameters
    POST   /_twin/actions/{name}   do it: `{"author": "rita", "text": "…"}`

What changes something takes JSON only and refuses pages of other origins, so that no web site that a developer visits
can play with a twin on their machine.
"""

from __future__ import annotations

import html
import inspect
import json
import re
import secrets
import types
import typing
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, Union

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_schemas.testing.twin_faults import Fault, FaultSchedule, SkewedTime, WebhookFaults

if TYPE_CHECKING:
    from gateway_schemas.testing.twin import Twin

INSPECTION = "/_twin"
NEWEST = 200
"""How many effects and requests the page shows."""

_FAULTS = TypeAdapter(list[Fault])
_SCHEDULE = TypeAdapter(FaultSchedule | None)
_WEBHOOKS = TypeAdapter(WebhookFaults)
_PLAIN = (str, int, float, bool, type(None))

Answer = Callable[[Request], Awaitable[Response]]


class Clock(BaseModel):
    """How wrong the twin's clock goes."""

    model_config = ConfigDict(extra="forbid")

    skew_seconds: float


def inspection(twin: Twin) -> Sequence[BaseRoute]:
    """The routes of a twin's page."""
    page = _Inspection(twin)

    def read(what: Callable[[], Any]) -> Answer:
        async def answer(_: Request) -> Response:
            return JSONResponse(to_jsonable_python(what(), fallback=str, bytes_mode="base64"))

        return answer

    def change(what: Callable[[Any], Any]) -> Answer:
        async def answer(request: Request) -> Response:
            return await _changed(request, what)

        return answer

    async def act(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in page.actions():
            return JSONResponse({"error": f"{twin.name} has no action {name}"}, 404)
        return await _changed(request, lambda given: page.act(name, given))

    return [
        Route(INSPECTION, page.show),
        Route(f"{INSPECTION}/state", read(twin.snapshot)),
        Route(f"{INSPECTION}/ledger", read(page.ledger)),
        Route(f"{INSPECTION}/requests", read(page.requests)),
        Route(f"{INSPECTION}/faults", read(page.faults)),
        Route(f"{INSPECTION}/faults", change(page.set_faults), methods=["PUT"]),
        Route(f"{INSPECTION}/schedule", change(page.set_schedule), methods=["PUT"]),
        Route(f"{INSPECTION}/webhooks", change(page.set_webhooks), methods=["PUT"]),
        Route(f"{INSPECTION}/clock", change(page.set_clock), methods=["PUT"]),
        Route(f"{INSPECTION}/actions", read(page.actions)),
        Route(f"{INSPECTION}/actions/{{name}}", act, methods=["POST"]),
    ]


async def _changed(request: Request, what: Callable[[Any], Any]) -> Response:
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        return JSONResponse({"error": f"{origin} may not change a twin"}, 403)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return JSONResponse({"error": "send JSON, with content-type: application/json"}, 415)
    try:
        result = what(await request.json())
        if inspect.isawaitable(result):
            result = await result
    except ValidationError as error:
        places = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors()]
        return JSONResponse({"error": "; ".join(places)}, 422)
    except (ValueError, LookupError) as error:
        return JSONResponse({"error": f"{type(error).__name__}: {error}"}, 422)
    return JSONResponse({"result": to_jsonable_python(result, fallback=str, bytes_mode="base64")})


class _Inspection:
    """What the endpoints answer."""

    def __init__(self, twin: Twin) -> None:
        self.twin = twin

    def ledger(self, newest: int | None = None) -> list[dict[str, Any]]:
        effects = self.twin.ledger[-newest:] if newest else self.twin.ledger
        return [{"at": one.at.isoformat(), "kind": one.kind, "id": one.id, "data": one.data} for one in effects]

    def requests(self) -> list[dict[str, Any]]:
        return [
            {"method": method, "path": path, "status": status} for method, path, status in self.twin.requests[-NEWEST:]
        ]

    def faults(self) -> dict[str, Any]:
        clock = self.twin.time
        return {
            "faults": _FAULTS.dump_python(self.twin.faults),
            "schedule": _SCHEDULE.dump_python(self.twin.schedule),
            "webhooks": _WEBHOOKS.dump_python(self.twin.webhooks),
            "clock": {"now": clock.now().isoformat()}
            | ({"skew_seconds": clock.by.total_seconds()} if isinstance(clock, SkewedTime) else {}),
        }

    def set_faults(self, given: Any) -> Any:
        self.twin.faults[:] = _FAULTS.validate_python(given)
        return self.faults()["faults"]

    def set_schedule(self, given: Any) -> Any:
        self.twin.schedule = _SCHEDULE.validate_python(given)
        return self.faults()["schedule"]

    def set_webhooks(self, given: Any) -> Any:
        self.twin.webhooks = _WEBHOOKS.validate_python(given)
        return self.faults()["webhooks"]

    def set_clock(self, given: Any) -> Any:
        clock = self.twin.time
        if not isinstance(clock, SkewedTime):
            raise ValueError("this twin's clock is shared; give it a SkewedTime to set it wrong")
        clock.by = timedelta(seconds=Clock.model_validate(given).skew_seconds)
        return self.faults()["clock"]

    def actions(self) -> dict[str, dict[str, Any]]:
        """The twin's actions: what each does, and its parameters that JSON can carry, with `required` and `default`."""
        found: dict[str, dict[str, Any]] = {}
        for name in self.twin.actions:
            method = getattr(self.twin, name)
            parameters = {}
            for parameter in inspect.signature(method, eval_str=True).parameters.values():
                if not _plain(parameter.annotation):
                    continue
                required = parameter.default is parameter.empty
                parameters[parameter.name] = {"required": required} | (
                    {} if required or parameter.default is None else {"default": parameter.default}
                )
            found[name] = {"does": (inspect.getdoc(method) or "").partition("\n")[0], "parameters": parameters}
        return found

    def act(self, name: str, given: Any) -> Any:
        method = getattr(self.twin, name)
        known = self.actions()[name]["parameters"]
        if not isinstance(given, dict):
            raise ValueError(f"expected an object with {', '.join(known)}")
        if strange := set(given) - set(known):
            raise ValueError(f"expected {', '.join(known)}, not {', '.join(sorted(strange))}")
        if missing := [key for key, one in known.items() if one["required"] and key not in given]:
            raise ValueError(f"{name} needs {', '.join(missing)}")
        signature = inspect.signature(method, eval_str=True)
        return method(
            **{
                key: TypeAdapter(signature.parameters[key].annotation).validate_python(value)
                for key, value in given.items()
            }
        )

    async def show(self, _: Request) -> Response:
        """The page, complete without any script; the script only keeps it fresh and sends what is typed."""
        nonce = secrets.token_urlsafe(16)
        shown = {
            "STATE": self.twin.snapshot(),
            "LEDGER": self.ledger(NEWEST)[::-1],
            "REQUESTS": self.requests()[::-1],
            "FAULTS": self.faults(),
            "ACTIONS": self.actions(),
        }
        page = files("gateway_schemas.testing").joinpath("twin_page.html").read_text("utf-8")
        parts = {"NAME": self.twin.name, "NONCE": nonce, **{name: _pretty(value) for name, value in shown.items()}}
        page = re.sub(r"\{\{([A-Z]+)\}\}", lambda found: html.escape(parts[found[1]]), page)
        policy = f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'"
        return Response(
            page, media_type="text/html", headers={"content-security-policy": policy, "cache-control": "no-store"}
        )


def _pretty(value: Any) -> str:
    return json.dumps(to_jsonable_python(value, fallback=str, bytes_mode="base64"), indent=2, ensure_ascii=False)


def _plain(annotation: Any) -> bool:
    """Whether JSON can carry it: text, numbers, truth, nothing, a choice of them."""
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        return all(_plain(one) for one in typing.get_args(annotation))
    return origin is Literal or annotation in _PLAIN
