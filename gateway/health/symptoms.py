"""What facts and a probe's findings say: which of them keep news from reaching us, and how sure that is.

Pure. The facts are the database's; the findings are the plugin's, made for it by asking the provider.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.health.expectation import Silence
from gateway.health.standing import Symptom
from gateway_schemas.plugin import HealthFinding

OVERDUE = timedelta(minutes=2)
"""By how much a poll may be late before its lane counts as standing still."""
STARVED = timedelta(minutes=5)
"""A pause of this length, by a provider's word or a budget's, leaves news lying."""
MISSED = 2
"""So many things that only polling found, and nothing pushed since, say that nothing is pushed."""
REFUSED = 3
"""So many refusals, where nothing can be polled to see what they were."""
DOUBTFUL = 2
"""So many failures in a row, of polls or of following a stream, are more than a stumble."""
UNFOLLOWED = timedelta(minutes=3)
HEARD_WITHIN = timedelta(seconds=80)
"""Until then a stream has told of what polling brought meanwhile, if it does: some are asked every minute."""

STREAM_SILENT = "stream_silent"
AUTHORISE = "Authorise the account again: POST /v1/connections/{id}/authorize, or PATCH /v1/connections/{id}."


@dataclass(frozen=True, slots=True)
class Lane:
    """How one stream is polled."""

    stream: str
    next_at: datetime
    polled_at: datetime | None
    failures: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Follower:
    """How the provider's stream is followed."""

    following: bool
    since: datetime | None
    next_at: datetime | None
    failures: int
    reason: str | None
    unheard: int = 0
    """What polling found that was published while it was followed, and that it did not tell of, nor of anything
    since."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database knows of one connection."""

    created_at: datetime
    status: str
    status_reason: str | None = None
    plugin_error: str | None = None
    paused: bool = False
    blocked_until: datetime | None = None
    blocked_reason: str | None = None
    lanes: Sequence[Lane] = ()
    follower: Follower | None = None
    """Of sources that listen."""
    proven: bool = True
    """Whether news has ever been shown to reach us."""
    helpdesk: bool = False
    polls: bool = False
    push_expected: bool = False
    """Whether something was installed at the provider, or has ever been pushed."""
    missed: int = 0
    """What polling found late and nothing pushed came after."""
    refused: int = 0
    """Requests that the door has turned away since something was last accepted; of a source that is polled, while
    polling found something that had not been pushed."""
    silence: Silence | None = None


def of_facts(facts: Facts, now: datetime) -> Iterator[Symptom]:
    """What is wrong by what the gateway itself has seen."""
    if facts.plugin_error is not None:
        yield Symptom("plugin_missing", "certain", facts.plugin_error, "Install the plugin, or mend the configuration.")
        return
    if facts.status == "needs_authorisation":
        message = facts.status_reason or "the provider refused the credentials"
        # one that has never worked is being set up by a person, who knows
        yield Symptom("needs_authorisation", "certain" if facts.proven else "hint", message, AUTHORISE, "access")
        return
    if facts.status != "active":
        yield Symptom(
            "broken", "certain", facts.status_reason or facts.status, "Mend it, then POST …/resume.", "access"
        )
        return
    if facts.paused:
        return
    yield from _polling(facts, now)
    yield from _push(facts)
    yield from _stream(facts, now)


def _polling(facts: Facts, now: datetime) -> Iterator[Symptom]:
    if facts.blocked_until is not None and facts.blocked_until > now:
        message = f"no call before {facts.blocked_until:%Y-%m-%d %H:%M} UTC: {facts.blocked_reason or 'asked to wait'}"
        yield Symptom("starved", "passing", message, "Wait, or have the provider raise the limit.", "read")
        return
    for lane in facts.lanes:
        reason = lane.reason or "the last polls failed"
        if lane.failures and lane.next_at - now > STARVED:
            message = f"{lane.stream} is not polled before {lane.next_at:%Y-%m-%d %H:%M} UTC: {reason}"
            mend = "Raise the App's rate or cost budget, or wait until it is there again."
            yield Symptom("starved", "passing", message, mend, "read")
        elif lane.failures >= DOUBTFUL:
            yield Symptom("poll_failing", "passing", f"polling {lane.stream}: {reason}", _mend_of(reason), "read")
        elif now - lane.next_at > OVERDUE:
            message = f"{lane.stream} should have been polled at {lane.next_at:%H:%M:%S} UTC, and nobody did"
            mend = "Look into the workers' logs, and restart the one that holds it: its lane stands still."
            yield Symptom("poll_stalled", "definite", message, mend, "read")


def _mend_of(reason: str) -> str:
    if reason.startswith(("retry", "unavailable", "timeout", "unknown", "connection")):
        return "Nothing to do while the provider is down: it is tried again."
    return "POST /v1/connections/{id}/check asks the provider what is wrong."


def _push(facts: Facts) -> Iterator[Symptom]:
    if not facts.push_expected:
        return
    if facts.refused >= (1 if facts.polls else REFUSED):
        message = f"the door turned away {facts.refused} requests and accepted none since: their signatures are wrong"
        mend = "Enter the secret that the provider signs with now; keep the earlier one beside it for a while."
        yield Symptom("signature_refused", "definite", message, mend, "push")
    elif facts.missed >= MISSED:
        message = f"polling found {facts.missed} things that the provider had not told us of, and it told of none since"
        mend = "See that the door is reachable from outside, then POST /v1/connections/{id}/install."
        yield Symptom("push_silent", "definite", message, mend, "push")
    if facts.silence is None:
        return
    if facts.silence.alarming and not facts.polls:
        message = f"{facts.silence.expected:.0f} messages would have been usual by now, and none came"
        mend = "Send a message through the channel, and see whether it arrives."
        yield Symptom("silent", "definite", message, mend, "push")


def _stream(facts: Facts, now: datetime) -> Iterator[Symptom]:
    follower = facts.follower
    if follower is None:
        return
    if follower.failures >= DOUBTFUL or (
        not follower.following and now - (follower.next_at or facts.created_at) > UNFOLLOWED
    ):
        message = f"the provider's stream is not followed: {follower.reason or 'nobody follows it'}"
        yield Symptom("stream_down", "passing", message, "News comes by polling until it is back.", "stream")
    elif follower.unheard >= MISSED:
        message = f"polling found {follower.unheard} things that the provider's stream, which is open, did not tell of"
        mend = "Nothing: it is begun anew, and news comes by polling until it tells of some again."
        yield Symptom(STREAM_SILENT, "definite", message, mend, "stream")


def hints_of(facts: Facts) -> Iterator[HealthFinding]:
    """What is shown, and a reason to look at once, but no reason for an alarm."""
    if facts.silence is not None and facts.silence.unusual and not facts.paused and facts.status == "active":
        message = (
            f"{facts.silence.expected:.1f} messages would have been usual since the last, and none came: "
            f"a silence as long as this comes by chance {facts.silence.likelihood:.2g} of the time"
        )
        yield HealthFinding(
            severity="warning", code="unusual_silence", message=message, mend="Nothing, if it is a holiday."
        )


def of_findings(facts: Facts, findings: Sequence[HealthFinding]) -> Iterator[Symptom]:
    """What is wrong by what the provider answered."""
    for one in findings:
        # a helpdesk's settings that work against us are a matter for `check`: its news reaches us all the same
        passed_over = (one.concern == "push" and not facts.push_expected) or (one.concern == "other" and facts.helpdesk)
        if one.severity == "error" and not passed_over:
            yield Symptom(one.code, "definite", one.message, one.mend, one.concern)
