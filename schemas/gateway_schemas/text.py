"""Foreign text made safe to store: JSON from outside may hold what neither UTF-8 nor PostgreSQL can."""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

from pydantic_core import PydanticSerializationError

from gateway_schemas.base import Model
from gateway_schemas.errors import Malformed

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
M = TypeVar("M", bound=Model)


def clean(value: Any) -> Any:
    """The same JSON value, fit to be stored at any depth: NUL characters and lone surrogates become U+FFFD, and the
    numbers that JSON does not have (NaN, infinities) None."""
    if isinstance(value, str):
        if value.isascii():
            return value.replace("\x00", _REPLACEMENT) if "\x00" in value else value
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value.replace("\x00", _REPLACEMENT)
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def clean_model(model: M) -> M:
    """The same model with its text cleaned; the model itself where nothing needed it.

    Raises ValueError where it holds what cannot be written as JSON even so.
    """
    try:
        text = model.model_dump_json()
    except PydanticSerializationError:  # a lone surrogate in a value; one in a key has become U+FFFD
        pass
    else:
        if "\\u0000" not in text and _REPLACEMENT not in text:
            return model
    cleaned = type(model).model_validate(clean(model.model_dump()))
    cleaned.model_dump_json()
    return cleaned


def parse_json(body: bytes) -> Any:
    """Read a JSON body from outside, cleaned. Raises Malformed naming where it breaks.

    Plugins read bodies with this and not with `json.loads`: a `\\ud800` in a post must not lose the post.
    """
    try:
        return clean(json.loads(body))
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not UTF-8 at byte {error.start}", code="not_utf8") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error.msg} at character {error.pos}", code="not_json") from error
    except RecursionError as error:
        raise Malformed("the body is nested too deeply", code="too_deep") from error
    except ValueError as error:  # a number with more digits than Python converts
        raise Malformed("the body has a number that is too long", code="not_json") from error


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON body that must be an object. Raises Malformed."""
    document = parse_json(body)
    if not isinstance(document, dict):
        raise Malformed(f"the body is a JSON {type(document).__name__}, not an object", code="wrong_shape")
    return document
