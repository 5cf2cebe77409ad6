"""What the twin refuses of tickets and contacts, all that is wrong at once, as Freshdesk validates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway_freshdesk.twin_model import CLOSED, RESOLVED, Ticket, invalid, problem

LONGEST_TAG = 32
PLAIN = ("subject", "status", "priority", "source", "type", "responder_id", "group_id", "product_id")
"""Attributes of a ticket that are set as they are given."""
_KNOWN = {*PLAIN, "description", "tags", "custom_fields", "due_by", "fr_due_by", "email_config_id", "parent_id"}
_REQUESTER = ("requester_id", "unique_external_id", "email", "phone", "twitter_id", "facebook_id")
_REACHED = ("email", "mobile", "phone", "twitter_id", "unique_external_id")
_CONTACT = {"name", "description", "custom_fields", *_REACHED}

Errors = list[dict[str, Any]]
Fields = Mapping[str, Mapping[str, Any]]


def check_contact(data: Mapping[str, Any]) -> None:
    """`POST /contacts`: a name, and something to know them by."""
    errors = _unknown(data, _CONTACT)
    if not isinstance(data.get("name"), str) or not data["name"].strip():
        errors.append(_missing("name"))
    if not any(data.get(one) for one in _REACHED):
        errors.append(problem("email", f"Please fill at least 1 of {', '.join(_REACHED)} fields", "missing_field"))
    if errors:
        raise invalid(*errors)


def check_creation(
    data: Mapping[str, Any], statuses: Mapping[int, str], sources: Mapping[str, int], fields: Fields
) -> None:
    """`POST /tickets`: what is always needed, what the account requires, and a requester."""
    rest = {name: value for name, value in data.items() if name not in (*_REQUESTER, "name")}
    errors = _ticket(rest, statuses, sources, fields)
    errors += [_missing(name) for name in ("subject", "description") if not data.get(name)]
    errors += [_missing(name) for name in ("status", "priority", "source") if name not in data]
    given = data.get("custom_fields") or {}
    errors += [_missing(name) for name, one in fields.items() if one.get("required_for_agents") and not given.get(name)]
    if not any(data.get(name) for name in _REQUESTER):
        text = f"Please fill at least 1 of {', '.join(_REQUESTER)} fields"
        errors.append(problem("requester_id", text, "missing_field"))
    if errors:
        raise invalid(*errors)


def check_update(
    data: Mapping[str, Any], ticket: Ticket, statuses: Mapping[int, str], sources: Mapping[str, int], fields: Fields
) -> None:
    """`PUT /tickets/{id}`: to resolve or close it the account may require more fields."""
    errors = _ticket(data, statuses, sources, fields)
    if data.get("status") in (RESOLVED, CLOSED):
        then = {**ticket.custom_fields, **(data.get("custom_fields") or {})}
        errors += [
            _missing(name) for name, one in fields.items() if one.get("required_for_closure") and not then.get(name)
        ]
    if errors:
        raise invalid(*errors)


def _ticket(data: Mapping[str, Any], statuses: Mapping[int, str], sources: Mapping[str, int], fields: Fields) -> Errors:
    errors = _unknown(data, _KNOWN)
    for name, allowed in (("status", statuses), ("priority", (1, 2, 3, 4)), ("source", sources.values())):
        if name in data and (isinstance(data[name], bool) or data[name] not in allowed):
            code = "invalid_value" if isinstance(data[name], int) else "datatype_mismatch"
            text = f"It should be one of these values: '{','.join(str(one) for one in allowed)}'"
            errors.append(problem(name, text, code))
    tags = data.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        errors.append(problem("tags", "Value set is of type String. It should be a/an Array", "datatype_mismatch"))
    elif any(len(tag) > LONGEST_TAG or "," in tag for tag in tags):
        errors.append(problem("tags", "It should have elements of length 1 to 32 without commas", "invalid_value"))
    custom = data.get("custom_fields", {})
    if not isinstance(custom, dict):
        return [*errors, problem("custom_fields", "It should be a/an key/value pair", "datatype_mismatch")]
    for name, value in custom.items():
        kind = fields[name]["type"] if name in fields else None
        if kind is None:
            errors += _unknown({name: value}, set())
        elif value is not None and kind in ("custom_text", "custom_paragraph") and not isinstance(value, str):
            errors.append(problem(name, "It should be a/an String", "datatype_mismatch"))
        elif value is not None and kind == "custom_number" and not isinstance(value, int):
            errors.append(problem(name, "It should be a/an Integer", "datatype_mismatch"))
    return errors


def _unknown(data: Mapping[str, Any], known: set[str]) -> Errors:
    return [problem(one, "Unexpected/invalid field in request", "invalid_field") for one in data if one not in known]


def _missing(name: str) -> dict[str, Any]:
    return problem(name, "It should not be blank as this is a mandatory field", "missing_field")
