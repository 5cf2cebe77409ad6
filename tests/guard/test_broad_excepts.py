"""`except Exception` hides bugs, unless the place owns a row or an answer that records the error. Each place is listed.

To add one, make the handler record what happened, then list it here with the reason. A place that is gone must leave
the list as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from support.repository import parse, product_code, relative, report

LISTED: dict[str, str] = {
    "gateway/api/asking.py:ask": "answered to whoever asked for the call, as a problem with the plugin's error",
    "gateway/engine/child.py:_tried": "a plugin's bug becomes the outcome of the item it concerns",
    "gateway/engine/judge.py:Bench.warm": "a reader that breaks does so again, recorded, with its first text",
    "gateway/engine/sandbox.py:_said": "what cannot be read back becomes the answer of the policy it came from",
    "gateway/engine/sandbox.py:_unpack": "what cannot be read back becomes the outcome of the item it concerns",
    "gateway/engine/supervise.py:Supervisor._keep": "a lease that cannot be ended early ends by itself",
    "gateway/engine/worker.py:_tick_on": "logged; the next tick looks for the same due rows",
    "gateway/engine/worker.py:work.drain": "logged; the drain's rows are as it found them and the tick wakes it again",
    "gateway/oauth/flow.py:_asked": "logged, and told to the person who was connecting the account",
    "gateway/oauth/renewal.py:renew_due": "recorded on the row of the consent; the token in force stays",
    "gateway/pipeline/accept.py:verify": "answered 401 and counted: what breaks the check has not passed it",
    "gateway/pipeline/aftermath.py:retract_due": "recorded on the reply",
    "gateway/pipeline/attach.py:_copy": "recorded on the file",
    "gateway/pipeline/enrich.py:_ask": "recorded with the account; what was known last stands in",
    "gateway/pipeline/fetch.py:fetch_due": "recorded on every row that was asked for",
    "gateway/pipeline/listen.py:Listeners._hold": "noted on the connection; the next look begins anew",
    "gateway/pipeline/poll.py:poll_stream": "recorded on the cursor",
    "gateway/health/probe.py:_ask": "recorded on the connection's health",
    "gateway/pipeline/push.py:_ask_after_interrupted": "recorded on the push, which stays in flight",
    "gateway/pipeline/push.py:_call": "recorded on every push of the call",
    "gateway/pipeline/push.py:_resume_jobs": "recorded on every push of the jobs",
    "gateway/pipeline/send.py:_fly": "recorded on the reply",
    "gateway/pipeline/unknown_replies.py:ask_after_unknown": "recorded on the reply, which stays unknown",
    "gateway/registry.py:Registry.load": "the plugin is listed as broken with the error",
    **dict.fromkeys(
        (
            "schemas/gateway_schemas/testing/door_checks.py:DoorChecks._refused",
            "schemas/gateway_schemas/testing/planting.py:outcome_of",
            "schemas/gateway_schemas/testing/policy_contract.py:PolicyContract._decides",
            "schemas/gateway_schemas/testing/reading_checks.py:ReadingChecks._survives",
            "schemas/gateway_schemas/testing/stage.py:Stage.attempt",
            "schemas/gateway_schemas/testing/trouble_checks.py:TroubleChecks.test_rate_headers_crash",
        ),
        "the check of the plugin whose bug it is says so and fails",
    ),
    "schemas/gateway_schemas/authoring/recording.py:Recording._golden": "said of the fixture, which gets no golden",
}

BROAD = {"Exception", "BaseException", "ExceptionGroup", "BaseExceptionGroup"}


def is_broad(node: ast.expr | None) -> bool:
    """Whether it catches about everything: no type at all, one of the bases, or a tuple that holds one."""
    if node is None:
        return True
    if isinstance(node, ast.Tuple):
        return any(is_broad(each) for each in node.elts)
    if isinstance(node, ast.Attribute):
        return node.attr in BROAD
    return isinstance(node, ast.Name) and node.id in BROAD


def broad(path: Path) -> Iterator[tuple[str, int]]:
    """Place (`file:Class.function`) and line of every broad handler and every `suppress(Exception)`."""
    pending: list[tuple[ast.AST, tuple[str, ...]]] = [(parse(path), ())]
    while pending:
        node, within = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            within = (*within, node.name)
        caught: list[ast.expr | None] = []
        if isinstance(node, ast.ExceptHandler):
            caught = [node.type]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "suppress":
            caught = list(node.args)
        if any(is_broad(each) for each in caught):
            yield f"{relative(path)}:{'.'.join(within) or '<module>'}", getattr(node, "lineno", 0)
        pending.extend((child, within) for child in ast.iter_child_nodes(node))


def test_every_broad_except_is_listed() -> None:
    found = [f"{place} (line {line})" for path in product_code() for place, line in broad(path) if place not in LISTED]
    assert not found, report(found, "catch what can happen, or record it and list the place with the reason")


def test_no_listed_place_is_stale() -> None:
    present = {place for path in product_code() for place, _ in broad(path)}
    stale = sorted(set(LISTED) - present)
    assert not stale, report(stale, "nothing broad is caught there any more: take it off the list")


def test_every_listed_place_says_why() -> None:
    bare = [place for place, reason in LISTED.items() if len(reason.split()) < 4]
    assert not bare, report(bare, "say what records the error")
