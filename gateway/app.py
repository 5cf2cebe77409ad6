"""The web application: the providers' door and the REST API, over one runtime."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import os
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import SecretStr
from starlette.routing import Route

from gateway.api import (
    apps,
    audit,
    authorisations,
    backtests,
    brands,
    calendars,
    clocks,
    commitments,
    configuration,
    connection_actions,
    connections,
    customers,
    dead_letters,
    decisions,
    deliveries,
    door,
    explain,
    files,
    health,
    interactions,
    invitations,
    keys,
    lists,
    metrics,
    outbound,
    own_posts,
    people,
    plugins,
    policies,
    policies_in_force,
    policy_trials,
    policy_types,
    profiles,
    replies,
    reply_check,
    reply_groups,
    reports,
    subscription_deliveries,
    subscriptions,
    tickets,
    waivers,
)
from gateway.api.bounded import BoundedHttp
from gateway.api.limits import Limits
from gateway.api.problems import ProblemDocument, install_handlers
from gateway.api.tracing import TraceIds
from gateway.db.embedded import EmbeddedPostgresError
from gateway.engine.memory import keep
from gateway.engine.supervise import Supervisor
from gateway.registry import Registry
from gateway.runtime import Runtime, open_runtime
from gateway.security.audit import by_itself
from gateway.security.keys import ensure_first_key
from gateway.security.master_keys import ForeignKey
from gateway.security.openid import OpenId
from gateway.settings import Settings

log = logging.getLogger(__name__)

DESCRIPTION = """
Between the public channels where customers complain and the helpdesk a company already has.

- Lists answer `{"items": […], "next": "…"}`; give `next` as `cursor` for the next page.
- Errors are problem documents (RFC 9457): `type` is stable, `errors` names the fields and the mend.
- `POST` takes an `Idempotency-Key`: repeated with it, nothing is done twice.
- Secrets go in and never come out: they are shown as `{"set": true}`.
- Times are RFC 3339 with a zone; identifiers are UUIDs unless said otherwise.
"""

TAGS = [
    {"name": "door", "description": "Where providers deliver."},
    {"name": "connections", "description": "Plugins, brands, Apps and connections, and how they fare."},
    {"name": "deliveries", "description": "What was received, byte for byte."},
    {"name": "conversations", "description": "Interactions and tickets."},
    {"name": "replies", "description": "Answers on their way out, and what was decided about them."},
    {"name": "clocks", "description": "Time targets, and the hours they count."},
    {"name": "policies", "description": "What the company holds itself to, in drafts, revisions and in force."},
    {"name": "commitments", "description": "Promises, incidents and alarms that policies set going."},
    {"name": "outbound", "description": "One call stops everything outbound."},
    {"name": "subscriptions", "description": "Who is told of what happens, as signed webhooks."},
    {"name": "people", "description": "Who is who at helpdesks and over the API, for four eyes."},
    {"name": "privacy", "description": "What is known of a customer, handed out or forgotten."},
    {"name": "configuration", "description": "All of it as documents, for version control."},
    {"name": "keys", "description": "Who may call."},
    {"name": "audit", "description": "Who changed what, in a chain that shows whether it was tampered with."},
    {"name": "health", "description": "For load balancers and people on call."},
]

WARM_AFTER = 10.0
WATCH = 1.0
"""Seconds between two looks at the embedded database."""


def create_app(
    settings: Settings, *, workers: int | None = None, registry: Registry | None = None, warm: bool = False
) -> FastAPI:
    """The application, unopened: its lifespan starts the database, the runtime and `workers` worker processes.

    `workers` is `settings.workers` unless given; 0 leaves the work to `gateway worker` processes. `registry` takes the
    place of the installed plugins in this process; worker processes always load the installed ones. With `warm` the
    process that policies run in is started a while later, before the first reply is checked.
    """
    the_door = door.Door()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with _opened(app, settings, registry) as runtime:
            on_record = runtime.audit.on_record(by_itself("first_api_key"))
            await ensure_first_key(on_record, settings, runtime.now(), show=functools.partial(print, flush=True))
            app.state.runtime = runtime
            app.state.openid = OpenId.open(settings, runtime.outgoing, runtime.time)
            app.state.limits = Limits(settings.rate_limit)
            app.state.schema_version = await health.schema_version(runtime.database)
            supervisor = Supervisor(runtime, worker_environment(settings))
            watching = asyncio.create_task(_watch_database(runtime))
            warming = asyncio.create_task(_warm_later(runtime)) if warm else None
            try:
                async with the_door.open(runtime):
                    if warm:
                        keep()
                    supervisor.start(settings.workers if workers is None else workers)
                    yield
            finally:
                await supervisor.stop()
                background = [task for task in (watching, warming) if task is not None]
                for task in background:
                    task.cancel()
                await asyncio.gather(*background, return_exceptions=True)

    app = FastAPI(
        title="Helpdesk gateway",
        version=_version(),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        license_info={"name": "MIT", "identifier": "MIT"},
    )
    install_handlers(app)
    app.add_middleware(TraceIds)
    # first in line, and without what a route of the framework does round each request
    app.router.routes.insert(0, Route(door.PATH, the_door, name="door", include_in_schema=False))
    for part in (
        brands,
        apps,
        plugins,
        connections,
        connection_actions,
        authorisations,
        deliveries,
        dead_letters,
        files,
        interactions,
        own_posts,
        tickets,
        reply_check,
        explain,
        policy_trials,
        reports,
        reply_groups,
        replies,
        people,
        customers,
        decisions,
        calendars,
        clocks,
        policy_types,
        policies_in_force,  # before `policies`, whose `{policy_id}` takes any word
        policies,
        profiles,
        lists,
        configuration,
        invitations,
        waivers,
        outbound,
        subscriptions,
        subscription_deliveries,
        keys,
        audit,
    ):
        app.include_router(part.router, prefix="/v1")
    for router in (
        keys.callers,
        customers.erasures,
        commitments.promises,
        commitments.incidents,
        commitments.alarms,
        backtests.router,
        subscriptions.kinds,
    ):
        app.include_router(router, prefix="/v1")
    app.include_router(authorisations.callback)
    app.include_router(health.router)
    app.include_router(metrics.router)
    _describe(app)
    return app


@contextlib.asynccontextmanager
async def _opened(app: FastAPI, settings: Settings, registry: Registry | None) -> AsyncIterator[Runtime]:
    """The runtime. A refusal is kept for `serve`: the server alone would end as after any fault."""
    try:
        async with open_runtime(settings, registry=registry) as runtime:
            yield runtime
    except ForeignKey as error:
        app.state.refusal = error
        raise


def _describe(app: FastAPI) -> None:
    """Complete the OpenAPI document: the door, which the framework does not see, and the shape of problems."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
                license_info=app.license_info,
            )
            shapes = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            components = schema.setdefault("components", {}).setdefault("schemas", {})
            components.update(shapes.pop("$defs", {}))
            components["ProblemDocument"] = shapes
            for unused in ("HTTPValidationError", "ValidationError"):
                components.pop(unused, None)
            door.document(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def worker_environment(settings: Settings) -> dict[str, str]:
    """The environment of worker processes: this process's, and the settings it really has, however it came by them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    given = {name: value for name, value in os.environ.items() if name.startswith("GATEWAY_")}
    known = {f"GATEWAY_{name.upper()}" for name in Settings.model_fields}
    environment |= {name: value for name, value in given.items() if name.upper() not in known}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        # only the process that serves makes the first key
        if value is None or name.startswith("bootstrap_key"):
            continue
        if getattr(settings, f"{name}_file", None) is not None:
            continue  # it reads the same file
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if isinstance(value, dict):
            value = json.dumps(value)
        environment[f"GATEWAY_{name.upper()}"] = ",".join(value) if isinstance(value, tuple) else str(value)
    return environment


async def _watch_database(runtime: Runtime) -> None:
    """Start the embedded database again when it has died."""
    while runtime.postgres is not None:
        await asyncio.sleep(WATCH)
        try:
            await asyncio.to_thread(runtime.postgres.ensure)
        except (EmbeddedPostgresError, OSError) as error:
            log.error("the embedded database: %s", error)


async def _warm_later(runtime: Runtime) -> None:
    """Load what answers about policies need once the workers, which messages wait for, have loaded the same."""
    await asyncio.sleep(WARM_AFTER)
    await runtime.sandbox.warm()


def _version() -> str:
    try:
        return version("helpdesk-gateway")
    except PackageNotFoundError:
        return "0"


async def serve(settings: Settings, *, workers: int | None = None) -> None:
    """Called by `gateway serve`: listen until SIGTERM or SIGINT, then finish what is under way. Raises ForeignKey."""
    app = create_app(settings, workers=workers, warm=True)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        lifespan="on",
        log_config=None,
        access_log=False,
        http=BoundedHttp,
        server_header=False,
        timeout_graceful_shutdown=30,
    )
    server = uvicorn.Server(config)
    try:
        await server.serve()
    except SystemExit as ended:
        raise getattr(app.state, "refusal", ended) from None
    if not server.started:
        raise SystemExit(3)
