"""What goes wrong, told as RFC 9457 says: one shape for every error, with the fields at fault and the mend."""

from __future__ import annotations

import difflib
import http
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import exc
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway.api.limits import tell
from gateway.db.database import is_data_error
from gateway.security.vault import VaultError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
URN = "urn:helpdesk-gateway:problem:"
RETRY_AFTER = 5
"""Seconds after which a caller may try again when the database is away."""


Handler = Callable[[Request, Exception], Awaitable[Response]]


class FieldError(BaseModel):
    """One field that is wrong."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    field: str
    """The path of the field in the body, or the name of the parameter or header: `config.user_id`."""
    message: str
    fix: str | None = None
    """What to do about it, where that is known."""
    file: str | None = None
    """Of configuration as files: the file, with the line where that is known."""


class ProblemDocument(BaseModel):
    """An error (RFC 9457). `type` is stable and names the kind of problem; `detail` is for people."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="allow")

    type: str = Field(examples=[URN + "invalid"])
    title: str = Field(examples=["The request is not valid"])
    status: int = Field(examples=[422])
    detail: str
    errors: list[FieldError] = []
    """The fields at fault, where there are any."""


TITLES = {
    "invalid": "The request is not valid",
    "not-found": "Not found",
    "conflict": "It is not in a state for that",
    "changed-meanwhile": "It was changed meanwhile",
    "unauthenticated": "An API key or a token is needed",
    "missing-scope": "The caller may not do that",
    "too-many-requests": "Too many requests",
    "unverified": "The request could not be verified",
    "too-large": "The body is too large",
    "too-slow": "The body took too long",
    "not-allowed": "The method is not possible here",
    "key-reused": "The Idempotency-Key belongs to another request",
    "in-progress": "The first request with this Idempotency-Key has not ended",
    "provider-refused": "The provider refused",
    "provider-away": "The provider does not answer",
    "plugin-failed": "The plugin failed",
    "unavailable": "Not available at the moment",
    "vault": "Secrets cannot be opened",
    "internal": "The gateway made a mistake",
}


class Problem(HTTPException):
    """Raised anywhere below a route: answered as a problem document."""

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(status, detail, dict(headers) if headers else None)
        self.name = name
        self.errors = errors
        self.more = more

    def response(self) -> Response:
        """The problem document."""
        document = ProblemDocument(
            type=URN + self.name,
            title=TITLES.get(self.name) or http.HTTPStatus(self.status_code).phrase,
            status=self.status_code,
            detail=self.detail,
            errors=list(self.errors),
            **self.more,
        )
        text = document.model_dump_json(exclude_none=True, exclude=None if self.errors else {"errors"})
        return Response(text, self.status_code, self.headers, MEDIA_TYPE)


def not_found(what: str, id: object) -> Problem:
    """There is no such thing."""
    return Problem(404, "not-found", f"There is no {what} {id}.")


def conflict(detail: str, *, field: str | None = None, fix: str | None = None, **more: Any) -> Problem:
    """It exists, but not in a state that allows this."""
    errors = [FieldError(field=field, message=detail, fix=fix)] if field else []
    return Problem(409, "conflict", detail, errors=errors, **more)


def invalid(field: str, message: str, fix: str | None = None) -> Problem:
    """One field is wrong."""
    return invalid_fields([FieldError(field=field, message=message, fix=fix)])


def invalid_fields(errors: Sequence[FieldError]) -> Problem:
    """Several fields are wrong."""
    detail = "; ".join(f"{error.field}: {error.message}" if error.field else error.message for error in errors[:5])
    if len(errors) > 5:
        detail += f"; and {len(errors) - 5} more"
    return Problem(422, "invalid", detail, errors=errors)


def unavailable(detail: str, *, after: float = RETRY_AFTER) -> Problem:
    """Nothing was done; the same request may succeed later."""
    return Problem(503, "unavailable", detail, headers={"Retry-After": str(max(1, round(after)))})


def field_errors(
    found: Iterable[Mapping[str, Any]], *, within: tuple[str, ...] = (), model: type[BaseModel] | None = None
) -> list[FieldError]:
    """Pydantic's errors with the paths of their fields. What was given is left out: it may be a secret."""
    errors = []
    for one in found:
        path = [str(part) for part in (*within, *one["loc"], *one.get("ctx", {}).get("path", ()))]
        message = str(one["msg"]).removeprefix("Value error, ")
        fix = None
        if one["type"] == "missing" and not path:
            message, fix = "a JSON object is needed as the body", "send the header Content-Type: application/json"
        elif one["type"] == "missing":
            message, fix = "is required", f"add {path[-1]}"
        elif one["type"] == "extra_forbidden":
            message, fix = "is not known", _did_you_mean(str(one["loc"][-1]), model if len(one["loc"]) == 1 else None)
        elif one["type"] == "json_invalid":
            path, message = (
                [],
                f"the body is no JSON: {one.get('ctx', {}).get('error', message)} at character {path[-1]}",
            )
        elif one["type"] == "model_attributes_type" and not path:
            message, fix = "the body is no JSON object", "send the header Content-Type: application/json"
        errors.append(FieldError(field=".".join(path), message=message, fix=fix))
    return errors


def _did_you_mean(name: str, model: type[BaseModel] | None) -> str | None:
    if model is None:
        return "leave it out"
    close = difflib.get_close_matches(name, model.model_fields, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(model.model_fields)}"


def install_handlers(app: FastAPI) -> None:
    """Have every error of the app answered as a problem."""
    for kind, answer in (
        (HTTPException, _of_http),
        (RequestValidationError, _of_validation),
        (exc.SQLAlchemyError, _of_database),
        (VaultError, _of_vault),
        (Exception, _of_anything),
    ):
        app.add_exception_handler(kind, _told(answer))


def _told(answer: Handler) -> Handler:
    """The same answer, with how the caller stands with its limit."""

    async def told(request: Request, error: Exception) -> Response:
        return tell(request, await answer(request, error))

    return told


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Problem):
        return error.response()
    detail = error.detail
    if error.status_code == 404:
        detail = f"There is nothing at {request.url.path}."
    elif error.status_code == 405:
        detail = f"{request.method} is not possible at {request.url.path}."
    name = {404: "not-found", 400: "invalid"}.get(error.status_code) or http.HTTPStatus(
        error.status_code
    ).phrase.lower().replace(" ", "-")
    return Problem(error.status_code, name, detail, headers=error.headers).response()


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    for one in found:
        if one["loc"][0] == "path":
            # an id that cannot be one names nothing
            named = request.path_params.get(str(one["loc"][-1]), "")
            what = str(one["loc"][-1]).removesuffix("_id").replace("_", " ")
            return not_found(what, named).response()
    return invalid_fields(field_errors({**one, "loc": one["loc"][1:]} for one in found)).response()


async def _of_database(request: Request, error: Exception) -> Response:
    if isinstance(error, exc.DBAPIError) and is_data_error(error):
        log.warning("%s %s: the database refused a value: %s", request.method, request.url.path, error.orig)
        state = getattr(error.orig, "sqlstate", "") or ""
        if state.startswith("23"):
            return conflict("It contradicts something that was stored meanwhile; look again.").response()
        return Problem(422, "invalid", "A value cannot be stored.").response()
    if is_away(error):
        return unavailable("The database cannot be reached; nothing was done.").response()
    raise error


def is_away(error: Exception) -> bool:
    """Whether the database could not be reached, or broke off: a later try may succeed."""
    return isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError | OSError) or (
        isinstance(error, exc.DBAPIError) and error.connection_invalidated
    )


async def _of_vault(_: Request, error: Exception) -> Response:
    return Problem(500, "vault", str(error)).response()


async def _of_anything(request: Request, error: Exception) -> Response:
    return Problem(500, "internal", f"{type(error).__name__}; the log has more.").response()


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problems of a route, for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status: {"description": DESCRIPTIONS[status], "content": content} for status in statuses}


DESCRIPTIONS = {
    400: "The request cannot be read",
    401: "There is no API key and no token, or it opens nothing",
    403: "The caller lacks the scope",
    404: "There is no such thing",
    409: "It is not in a state for that",
    412: "It was changed meanwhile: If-Match does not match",
    413: "The body is too large",
    422: "Fields are not valid; each is named",
    429: "More requests a minute than the caller may send; see Retry-After",
    502: "The provider refused, or its plugin failed",
    503: "The database or the provider is away; see Retry-After",
    504: "The provider did not answer in time",
}
