"""What becomes of a reply by what was found in it, and what a person's approval passes over. Pure.

An approval is bound to one rendered digest and waives the findings that were shown, each with what it rested on. The
same finding on other grounds, a finding of a newer policy revision, or any other text holds anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.pipeline.leaks import Leak
from gateway_schemas.decision import Evidence, Finding, Severity

HOST = "gateway"
"""The policy that findings of the gateway itself name: promises that need no policy."""

Found = Mapping[str, Any]
"""A finding as stored: the policy, type, revision and mode it comes from, and the Finding's own fields."""


@dataclass(frozen=True)
class Ruling:
    """How deciding ends: `queued`, `held` or `blocked`, and what keeps it, strictest first."""

    state: str
    open: tuple[dict[str, Any], ...] = ()

    @property
    def code(self) -> str | None:
        """The strictest finding's code."""
        return str(self.open[0]["code"]) if self.open else None

    @property
    def reason(self) -> str | None:
        """The strictest finding's words."""
        return str(self.open[0]["message"]) if self.open else None


def host_finding(
    code: str,
    message: str,
    *,
    severity: Severity = Severity.hold,
    basis: Iterable[str] = (),
    evidence: Sequence[Evidence] = (),
    suggestion: str | None = None,
) -> dict[str, Any]:
    """A finding of the gateway itself. `basis` names what it rests on, where that is not words of the reply."""
    finding = Finding(severity=severity, code=code, message=message, evidence=tuple(evidence), suggestion=suggestion)
    return {
        "policy": HOST,
        "type": HOST,
        "revision": 1,
        "mode": "on",
        **finding.model_dump(mode="json"),
        "basis": sorted(basis),
    }


def leaking(leaks: Sequence[Leak]) -> dict[str, Any]:
    """The finding that a public answer would say what is known from the private leg alone."""
    words = ", ".join(f"{one.shape} {one.text}" for one in leaks[:5])
    return host_finding(
        "private_only",
        f"It would make public what is only known from the private conversation: {words}.",
        evidence=[Evidence(start=one.start, end=one.end, text=one.text) for one in leaks[:20]],
        basis=[one.text for one in leaks],
        suggestion="Leave it out, or answer in private (tag reply:private).",
    )


def rule(findings: Iterable[Found], approved_digest: str | None, waived: Sequence[Found] | None, digest: str) -> Ruling:
    """The state that these findings give a reply with this digest, approved or not."""
    waivers = (waived or ()) if approved_digest == digest else ()
    counted = [one for one in findings if one.get("mode") != "shadow" and "waived" not in one]
    kept = [dict(one) for one in counted if not _passes(one, waivers)]
    kept.sort(key=lambda one: -Severity(one["severity"]).rank)
    if not kept:
        return Ruling("queued")
    state = "blocked" if kept[0]["severity"] == Severity.block else "held"
    return Ruling(state, tuple(kept))


def waivers_for(findings: Iterable[Found]) -> list[dict[str, Any]]:
    """What approving past these findings passes over."""
    return [{"finding": name_of(one), "basis": sorted(_basis(one))} for one in findings]


def name_of(finding: Found) -> str:
    """A finding's name: `policy@revision:code`."""
    return f"{finding['policy']}@{finding['revision']}:{finding['code']}"


def fingerprint(digest: str | None, findings: Sequence[Found]) -> str:
    """Names one reason to hold one text: each gets one note on its ticket, however often it is decided."""
    parts = [digest or "", *sorted(f"{name_of(one)} {sorted(_basis(one))}" for one in findings)]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def needs_second_person(findings: Iterable[Found]) -> bool:
    """Whether only somebody other than the author may approve past these."""
    return any(one.get("second_person") for one in findings)


def _passes(finding: Found, waivers: Sequence[Found]) -> bool:
    severity = Severity(finding["severity"])
    if severity != Severity.hold:
        return severity.rank < Severity.hold.rank
    return any(one["finding"] == name_of(finding) and _basis(finding) <= set(one["basis"]) for one in waivers)


def _basis(finding: Found) -> set[str]:
    evidence = {f"{one.get('in', 'reply')}:{one['text']}" for one in finding.get("evidence") or ()}
    return evidence | set(finding.get("basis") or ())
