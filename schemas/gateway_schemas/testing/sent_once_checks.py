"""Checks that an answer is published once, whatever happens to the request, and found where nobody knows."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import Any

import pytest

from gateway_schemas.errors import Rejected, Retry, Unknown
from gateway_schemas.reply import Absent, Found, NotYet, Sent
from gateway_schemas.testing.adapters import NotOffered
from gateway_schemas.testing.failure import found, needs, staged, unless
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.testing.source_stage import (
    LEGS,
    SourceStage,
    asked,
    intent,
    only_answer,
    publishing,
    rendered,
    sent,
)
from gateway_schemas.testing.trouble_checks import _named


class SentOnceChecks(PluginContract):
    """Requests that publish fail before and after they had their effect."""

    @LEGS
    @pytest.mark.parametrize("kind", ["500", "503", "trouble", "time-out", "broken off", "no JSON", "nothing"])
    @staged
    async def test_unknown_outcome_not_said(self, stage: SourceStage, kind: str, private: bool) -> None:
        """The answer is published and the response lost: Unknown, once, and then found."""
        if kind == "trouble":
            needs(stage.adapter.trouble, "a way of its own to say that it had trouble (`trouble`)")
        told = await asked(stage, private=private)
        what = rendered(stage, told)
        begun = intent(stage, what)
        request = publishing(stage, private=private)
        requests = stage.asked(request)
        stage.lose(kind, request)
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        stage.adapter.twin.faults.clear()
        made = stage.asked(request) - requests
        if isinstance(outcome, Retry) and stage.capabilities.idempotent_send:
            await sent(stage, what)
            only_answer(stage, "idempotency_not_kept")
            return
        if kind in ("no JSON", "nothing") and isinstance(outcome, Sent) and stage.capabilities.idempotent_send:
            only_answer(stage)  # a 2xx may be all that the provider has to say, where the same key is safe to repeat
            return
        unless(
            isinstance(outcome, Unknown),
            "unknown_outcome_not_said",
            f"the answer was published, the response lost ({kind}), and send gives {_named(outcome)}",
        )
        unless(made <= 1, "sent_again_after_unknown", f"send made the request {made} times")
        only_answer(stage, "sent_again_after_unknown")
        await self._find(stage, begun)

    @LEGS
    @staged
    async def test_sent_again_after_unknown(self, stage: SourceStage, private: bool) -> None:
        """A failure that strikes once: whoever tries again by itself publishes, and must not."""
        for kind in ("500", "time-out", "broken off"):
            told = await asked(stage, private=private, text=f"and after {kind}?")
            what = rendered(stage, told, f"An answer after {kind}")
            request = publishing(stage, private=private)
            before = stage.asked(request)
            stage.lose(kind, request, times=1)
            await stage.attempt(stage.plugin.send(what, f"kit-key-{kind}"))
            stage.adapter.twin.faults.clear()
            made = stage.asked(request) - before
            unless(made == 1, "sent_again_after_unknown", f"after {kind} send made the request {made} times")

    @LEGS
    @staged
    async def test_found_another(self, stage: SourceStage, private: bool) -> None:
        """A failure before the effect: nothing was published, and nothing else is taken for it."""
        told = await asked(stage, private=private)
        what = rendered(stage, told, "We are sorry.")
        other = None
        if not private:
            other = rendered(stage, await asked(stage, text="and mine?"), "We are sorry.")
            await sent(stage, other, "kit-key-0")
            stage.time.pass_by(hours=2)
        begun = intent(stage, what)
        stage.strike("status_before", publishing(stage, private=private), status=502, times=9)
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        stage.adapter.twin.faults.clear()
        if not private:  # the same words go to somebody else at the same time
            await sent(stage, rendered(stage, await asked(stage, text="me too"), "We are sorry."), "kit-key-2")
        proper = (Unknown, Retry) if stage.capabilities.idempotent_send else (Unknown,)
        unless(isinstance(outcome, proper), "unknown_outcome_not_said", f"after 502 send gives {_named(outcome)}")
        stage.time.pass_by((stage.capabilities.index_lag or timedelta()) + timedelta(seconds=1))
        result = await stage.attempt(stage.plugin.find(begun))
        if isinstance(result, Rejected) and result.code == "no_find":
            return
        unless(
            not isinstance(result, Found), "found_another", f"nothing was published, and find gives {_named(result)}"
        )
        unless(isinstance(result, Absent | NotYet), "found_another", f"find raises {_named(result)}")

    @LEGS
    @staged
    async def test_not_sent_called_unknown(self, stage: SourceStage, private: bool) -> None:
        """No connection could be made."""
        told = await asked(stage, private=private)
        what = rendered(stage, told)
        needs(stage.transport, "a twin over HTTP in this process")
        assert stage.transport is not None
        stage.transport.unreachable = True
        outcome = await stage.attempt(stage.plugin.send(what, "kit-key-1"))
        unless(
            isinstance(outcome, Retry), "not_sent_called_unknown", f"without a connection send gives {_named(outcome)}"
        )

    @LEGS
    @staged
    async def test_found_not_found(self, stage: SourceStage, private: bool) -> None:
        """Answers with entities, links, emoji and line breaks are found, among others."""
        told = await asked(stage, private=private)
        what = rendered(stage, told, stage.adapter.wording)
        begun = intent(stage, what)
        result = await sent(stage, what)
        if not private:
            for number in range(3):
                stage.time.pass_by(seconds=5)
                more = await asked(stage, text=f"more {number}")
                await sent(stage, rendered(stage, more, f"Later {number}"), f"kit-later-{number}")
            with contextlib.suppress(NotOffered):  # and the brand goes on posting, for more than a page
                for number in range(stage.adapter.many):
                    stage.adapter.brand_writes(f"News {number}")
        answer = await self._find(stage, begun)
        unless(
            answer.external_id == result.external_id,
            "found_not_found",
            f"send gave the id {result.external_id!r}, find {answer.external_id!r}",
        )

    @staged
    async def test_absent_too_early(self, stage: SourceStage) -> None:
        """What was published shows late; after the declared lag it is found."""
        needs(stage.capabilities.index_lag is not None, "index_lag")
        told = await asked(stage)
        stage.adapter.shows_after(stage.adapter.shows_within or stage.capabilities.index_lag * 0.9)
        what = rendered(stage, told)
        begun = intent(stage, what)
        await sent(stage, what)
        stage.time.pass_by(stage.capabilities.index_lag)
        await self._find(stage, begun, wait=False, fault="absent_too_early")

    @LEGS
    @staged
    async def test_find_failure_called_absent(self, stage: SourceStage, private: bool) -> None:
        """The look-up itself fails."""
        told = await asked(stage, private=private)
        what = rendered(stage, told)
        begun = intent(stage, what)
        await sent(stage, what)
        stage.time.pass_by(minutes=10)
        for kind, status in (("status_before", 500), ("status_before", 429), ("drop_after", 0)):
            faulty: Any = kind
            stage.strike(faulty, (".*", ".*"), status=status, times=9)
            result = await stage.attempt(stage.plugin.find(begun))
            stage.adapter.twin.faults.clear()
            unless(
                not isinstance(result, Absent),
                "find_failure_called_absent",
                f"the look-up met {kind} {status or ''} and gives Absent",
            )

    @LEGS
    @staged
    async def test_idempotency_not_kept(self, stage: SourceStage, private: bool) -> None:
        """The same key twice publishes once; another key is another answer."""
        needs(stage.capabilities.idempotent_send, "idempotent_send")
        told = await asked(stage, private=private)
        what = rendered(stage, told)
        one, other = await sent(stage, what), await sent(stage, what)
        only_answer(stage, "idempotency_not_kept")
        unless(one.external_id == other.external_id, "idempotency_not_kept", "the same key gave two ids")

    async def _find(
        self, stage: SourceStage, begun: Any, *, wait: bool = True, fault: str = "found_not_found"
    ) -> Found:
        """The answer, which must be found once the declared lag has passed."""
        for _ in range(6):
            result = await stage.attempt(stage.plugin.find(begun))
            if isinstance(result, Rejected) and result.code == "no_find":
                needs(False, "a look-up of what was sent")
            if isinstance(result, Found) or not wait:
                break
            stage.time.pass_by(getattr(result, "after", timedelta()) + timedelta(seconds=10))
        if not isinstance(result, Found):
            found(fault, f"the answer is published, and find gives {_named(result)}")
        unless(result.external_id, "found_not_found", "find names no id")
        return result
