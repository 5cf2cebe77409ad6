"""An approval passes over what was shown, and over nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.pipeline.leaks import Known, private_only
from gateway.pipeline.verdicts import host_finding, leaking, name_of, needs_second_person, rule, waivers_for


def found(severity: str = "hold", **changes: Any) -> dict[str, Any]:
    """A policy's finding as stored."""
    return {
        "policy": "four-eyes",
        "type": "four_eyes",
        "revision": 3,
        "mode": "on",
        "severity": severity,
        "code": "second_look",
        "message": f"a {severity}",
        "evidence": [{"in": "reply", "start": 0, "end": 5, "text": "sorry"}],
        **changes,
    }


@pytest.mark.parametrize(
    ("findings", "state"),
    [
        ([], "queued"),
        ([found("allow"), found("warn")], "queued"),
        ([found("warn"), found("hold")], "held"),
        ([found("hold"), found("block")], "blocked"),
        ([found("block", mode="shadow"), found("hold", mode="shadow")], "queued"),
    ],
)
def test_the_strictest_finding_decides(findings: list[dict[str, Any]], state: str) -> None:
    ruling = rule(findings, None, None, "d")
    assert ruling.state == state
    assert (ruling.reason is None) == (state == "queued")


def test_what_was_shown_is_passed_over() -> None:
    shown = [found(), host_finding("newer_message", "newer", basis=["a", "b"])]
    assert rule(shown, "d", waivers_for(shown), "d").state == "queued"
    # the same on fewer grounds is nothing new
    fewer = [found(evidence=[]), host_finding("newer_message", "newer", basis=["b"])]
    assert rule(fewer, "d", waivers_for(shown), "d").state == "queued"


@pytest.mark.parametrize(
    "later",
    [
        found(code="other"),
        found(policy="other"),
        found(revision=4),
        found(evidence=[{"in": "reply", "start": 9, "end": 14, "text": "fault"}]),
        found(evidence=[{"in": "earlier", "start": 0, "end": 5, "text": "sorry"}]),
        host_finding("second_look", "of the gateway itself"),
        host_finding("newer_message", "newer", basis=["a", "c"]),
        found("block"),
    ],
)
def test_anything_else_holds_anew(later: dict[str, Any]) -> None:
    shown = [found(), host_finding("newer_message", "newer", basis=["a"])]
    ruling = rule([found(), later], "d", waivers_for(shown), "d")
    assert ruling.state == ("blocked" if later["severity"] == "block" else "held")
    assert ruling.open == (later,)


def test_another_text_holds_anew() -> None:
    shown = [found()]
    assert rule(shown, "d", waivers_for(shown), "e").open == tuple(shown)
    assert rule(shown, None, waivers_for(shown), "d").state == "held"


def test_a_block_is_waived_by_nobody() -> None:
    shown = [found("block")]
    assert rule(shown, "d", waivers_for(shown), "d").state == "blocked"


def test_a_leak_names_the_words_and_holds_anew_for_others() -> None:
    private = Known(["order 4711, mail rita@example.com"])
    one = leaking(private_only("we looked at 4711", Known(), private))
    both = leaking(private_only("we looked at 4711 and rita@example.com", Known(), private))
    assert (one["evidence"][0]["text"], name_of(one)) == ("4711", "gateway@1:private_only")
    assert rule([one], "d", waivers_for([both]), "d").state == "queued"
    assert rule([both], "d", waivers_for([one]), "d").state == "held"


def test_four_eyes_are_demanded_by_the_finding() -> None:
    assert needs_second_person([found(), found(second_person=True)])
    assert not needs_second_person([found(), host_finding("private_only", "x")])
