"""Checks of how an answer will read: the same whenever it is asked, whole, and measured as the provider measures."""

from __future__ import annotations

from gateway_schemas.errors import Hold, Rejected
from gateway_schemas.interaction import Interaction
from gateway_schemas.length import length
from gateway_schemas.reply import Rendered, Sent
from gateway_schemas.testing.failure import found, needs, staged, unless
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.testing.source_stage import LEGS, SourceStage, asked, draft, heard, rendered
from gateway_schemas.testing.trouble_checks import _named

_PIECES = ("a", "é", "漢", "👩‍👩‍👧", "e\u0301", "https://example.com/a-long-path/to/somewhere ")


class RenderingChecks(PluginContract):
    """An agent's answer is rendered before it is decided on."""

    @LEGS
    @staged
    async def test_render_not_pure(self, stage: SourceStage, private: bool) -> None:
        """The same draft gives the same, also elsewhere, later and without network."""
        told = await asked(stage, private=private)
        what = draft(told, stage.adapter.wording, stage)
        first: Rendered = stage.plugin.render(what)
        stage.time.pass_by(days=2)
        again: Rendered = stage.plugin_class(stage._pure_setup()).render(what)
        unless(first.digest == again.digest, "render_not_pure", f"the same draft gave\n{first}\nand\n{again}")
        for name, wanted in (("account", told.account), ("target", told.reply_target), ("visibility", told.visibility)):
            given = getattr(first, name)
            unless(given == wanted, "render_not_pure", f"rendering made {given!r} of the {name} {wanted!r}")

    @LEGS
    @staged
    async def test_render_cuts(self, stage: SourceStage, private: bool) -> None:
        """A text far too long is measured or refused, never cut."""
        told = await asked(stage, private=private)
        long = "far too long " * 8_000
        try:
            what = rendered(stage, told, long)
        except Rejected as error:
            unless(error.reason, "render_cuts", "a text that is too long is refused without a reason")
            return
        unless(what.text == long, "render_cuts", f"a text of {len(long)} characters became one of {len(what.text)}")
        if what.limit is not None:
            unless(what.length > what.limit, "limit_miscounted", f"{len(long)} characters count as {what.length}")

    @LEGS
    @staged
    async def test_limit_miscounted(self, stage: SourceStage, private: bool) -> None:
        """What the plugin takes to fit, the provider takes; what it takes for too long, the provider refuses."""
        told = await asked(stage, private=private)
        target = told.reply_target
        declared = stage.capabilities.text.get(target.kind if target is not None else "")
        needs(declared, "a text limit for this answer")
        for number, piece in enumerate(_PIECES):
            if stage.capabilities.one_slot and number:
                told = await heard(stage, f"question {number}", private=private)
            what = rendered(stage, told, f"x{number} {piece}")
            unless(
                (what.limit, what.counting) == (declared.limit, declared.counting),
                "limit_miscounted",
                f"rendered with {what.limit} {what.counting}, declared are {declared.limit} {declared.counting}",
            )
            counted = length(what.text, declared.counting, reserved_url=declared.reserved_url)
            counted += stage.adapter.addressing
            unless(
                what.length == counted,
                "limit_miscounted",
                f"{what.text!r} counts {what.length}, in {declared.counting} it is {counted}",
            )
            fits, over = _at_the_limit(stage, told, f"x{number} ", piece, declared.limit)
            await sent_or(stage, fits, f"key-{number}", "limit_miscounted")
            unless(
                fits.text.strip() in [answer.text.strip() for answer in stage.adapter.answers()],
                "answer_changed",
                f"an answer of exactly {fits.length} of {fits.limit} is not shown as sent",
            )
            count = len(stage.adapter.answers())
            outcome = await stage.attempt(stage.plugin.send(over, f"over-{number}"))
            unless(
                isinstance(outcome, Rejected | Hold) and len(stage.adapter.answers()) == count,
                "limit_miscounted",
                f"{over.text[:20]!r}… counts {over.length} of {over.limit}, and the provider takes it: "
                f"{_named(outcome)}",
            )

    @LEGS
    @staged
    async def test_empty_answer_taken(self, stage: SourceStage, private: bool) -> None:
        """Nothing, and nothing but white space."""
        told = await asked(stage, private=private)
        for text in ("", "  \n\t "):
            try:
                rendered(stage, told, text)
            except Rejected:
                continue
            found("empty_answer_taken", f"the text {text!r} is rendered")


async def sent_or(stage: SourceStage, what: Rendered, key: str, fault: str) -> None:
    """Send what must be taken; a refusal is this fault."""
    outcome = await stage.attempt(stage.plugin.send(what, key))
    if not isinstance(outcome, Sent):
        found(fault, f"{what.text[:20]!r}… counts {what.length} of {what.limit}, and send gives {_named(outcome)}")


def _at_the_limit(
    stage: SourceStage, told: Interaction, begin: str, piece: str, limit: int
) -> tuple[Rendered, Rendered]:
    """The longest text of pieces that fits, filled up with letters, and one letter more.

    Where a second limit is reached first (Bluesky: 3000 bytes beside 300 graphemes), rendering measures by that one,
    and the text is not filled up.
    """
    low, high = 0, limit + 1
    while low + 1 < high:
        middle = (low + high) // 2
        if _fits(rendered(stage, told, (begin + piece * middle).rstrip())):
            low = middle
        else:
            high = middle
    body = (begin + piece * low).rstrip()
    fits = rendered(stage, told, body)
    filled = body + (" " + "z" * (limit - fits.length - 1) if limit - fits.length > 1 else "")
    full = rendered(stage, told, filled)
    if not _fits(full):
        return fits, rendered(stage, told, begin + piece * high)
    if full.length < limit:
        full = rendered(stage, told, filled + "z")
    return full, rendered(stage, told, full.text + "zz")


def _fits(what: Rendered) -> bool:
    return what.limit is None or what.length <= what.limit
