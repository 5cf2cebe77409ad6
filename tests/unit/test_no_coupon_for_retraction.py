"""The shipped reader and policy together: whole conversations in six languages, and hundreds of real answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from gateway_honest_reviews.coupon import NoCouponForRetraction, NoCouponParams
from gateway_reading.reader import PackReader
from gateway_schemas.decision import Finding, TimelineEntry
from gateway_schemas.testing.policies import case, message, rendered, said
from support.repository import ROOT

POLICY = NoCouponForRetraction(NoCouponParams(), PackReader())


def judge(reply: str, timeline: Sequence[TimelineEntry] = (), **changes: Any) -> list[Finding]:
    found = POLICY.review_reply(case(timeline=tuple(timeline), **changes), rendered(reply))
    return [finding for finding in found if isinstance(finding, Finding) and finding.code == "incentive_for_retraction"]


OFFER_THEN_ASK = [
    ("We have put a £20 credit on your account.", "Would you now take your review down?"),
    ("Le hemos añadido 20 € de saldo.", "¿Podría retirar ahora su reseña?"),
    ("Nous avons ajouté un avoir de 20 € sur votre compte.", "Pourriez-vous maintenant supprimer votre avis ?"),
    ("Wir haben Ihnen 20 € gutgeschrieben.", "Könnten Sie nun Ihre Bewertung löschen?"),
    ("Adicionamos um crédito de 20 € à sua conta.", "Poderia agora apagar a sua avaliação?"),
    ("Abbiamo aggiunto un credito di 20 € al suo conto.", "Potrebbe ora cancellare la recensione?"),
]


@pytest.mark.parametrize(("offer", "ask"), OFFER_THEN_ASK)
def test_an_offer_in_private_and_a_request_in_public(offer: str, ask: str) -> None:
    (finding,) = judge(ask, said(("agent", offer), ("customer", "ok"), private=True))
    assert finding.severity == "block"
    assert [one.where for one in finding.evidence] == ["reply", "earlier"]
    assert finding.evidence[1].text in offer
    assert judge(ask) == []


@pytest.mark.parametrize(("offer", "ask"), OFFER_THEN_ASK)
def test_a_request_in_public_and_an_offer_in_private(offer: str, ask: str) -> None:
    assert judge(offer, said(("agent", ask), ("customer", "hm")))
    assert judge(offer) == []


@pytest.mark.parametrize(
    ("proposal", "consent", "refusal"),
    [
        ("Send me 50 € and I'll delete my review.", "Done, 50 € sent.", "Sorry, we can't do that."),
        ("Si me dais un vale, borro la reseña.", "Hecho, vale enviado.", "No damos nada a cambio de reseñas."),
        (
            "Si vous me donnez un bon, je supprime l'avis.",
            "D'accord, c'est fait.",
            "Nous n'offrons rien pour un avis.",
        ),
        ("Wenn ihr mir 50 € gebt, lösche ich die Bewertung.", "Erledigt, 50 € sind überwiesen.", "Nein danke."),
        ("Se me derem um vale, eu apago a avaliação.", "Combinado, vale enviado.", "Não damos nada em troca."),
        ("Se mi date un buono, cancello la recensione.", "Fatto, buono inviato.", "Non offriamo nulla in cambio."),
    ],
)
def test_the_customer_proposes_and_the_agent_agrees(proposal: str, consent: str, refusal: str) -> None:
    assert judge(consent, said(("customer", proposal)))
    assert judge(consent, interaction=message(proposal, language=None))
    assert judge(refusal, said(("customer", proposal))) == []
    assert judge(consent) == []


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ("If you delete the review, we'll send a voucher.", "up to you"),
        ("Si borra la reseña le enviamos un vale.", "decisión suya"),
        ("Si vous supprimez l'avis, nous vous envoyons un bon d'achat.", "ne dépend que de vous"),
        ("Wenn Sie die Bewertung löschen, schicken wir einen Gutschein.", "entscheiden ganz allein Sie"),
        ("Se apagar a avaliação, enviamos um vale.", "decisão só sua"),
        ("Se cancella la recensione, le mandiamo un buono.", "lo decide solo lei"),
    ],
)
def test_the_suggestion_is_in_the_language_of_the_reply(reply: str, words: str) -> None:
    (finding,) = judge(reply)
    assert words in (finding.suggestion or "")


def test_a_withdrawn_offer_no_longer_counts() -> None:
    offered = ("agent", "If you like, we send you a voucher.")
    withdrawn = ("agent", "Please ignore my earlier offer of a voucher.")
    asked = "Would you consider updating your review?"
    assert judge(asked, said(offered))
    assert judge(asked, said(offered, withdrawn)) == []


def test_ordinary_answers_of_care_teams_are_never_blocked() -> None:
    data = ROOT.parent / "shared" / "data" / "conversations.jsonl"
    if not data.is_file():
        pytest.skip("the recorded conversations are not beside this checkout (../shared/data)")
    found: list[Finding] = []
    answers = 0
    for line in data.read_text("utf-8").splitlines():
        earlier: list[TimelineEntry] = []
        for told in json.loads(line)["messages"]:
            who = "agent" if told["from"] == "agent" else "customer"
            if who == "agent":
                answers += 1
                found += judge(told["text"], earlier)
            earlier.append(
                TimelineEntry(at=told["at"], who=who, visibility="public", text=told["text"])  # type: ignore[arg-type]
            )
    assert answers > 500
    assert [finding for finding in found if finding.severity == "block"] == []
    assert len(found) <= 0.005 * answers


WORDINGS = ROOT / "plugins" / "policies" / "reading" / "tests" / "corpus"
FLOORS = {"tune": (0.93, 0.015), "held_out": (0.80, 0.05)}
"""Recall at least, and harmless texts blocked at most, of texts that avoid the usual words of a bargain."""


@pytest.mark.parametrize("part", FLOORS)
@pytest.mark.parametrize("language", ["en", "es", "fr", "de", "pt", "it"])
def test_trades_in_unusual_words_are_found_and_harmless_answers_pass(language: str, part: str) -> None:
    rows = [
        json.loads(line) for line in (WORDINGS / f"trade_wordings_{language}.jsonl").read_text("utf-8").splitlines()
    ]
    counted = {True: [0, 0], False: [0, 0]}
    missed: list[str] = []
    for row in rows:
        if row["part"] != part:
            continue
        earlier = said(*((entry["from"], entry["text"]) for entry in row["earlier"]))
        timeline = [entry.model_copy(update={"language": language}) for entry in earlier]
        found = judge(row["text"], timeline, interaction=message("", language=language))
        trade = bool(row["labels"])
        counted[trade][0] += bool(found) if trade else any(finding.severity == "block" for finding in found)
        counted[trade][1] += 1
        if trade != bool(found):
            missed.append(row["id"])
    recall, false_blocks = (counted[kind][0] / max(1, counted[kind][1]) for kind in (True, False))
    print(f"{language} {part:8} recall {recall:.3f} false blocks {false_blocks:.3f}")
    floor, ceiling = FLOORS[part]
    assert recall >= floor, missed
    assert false_blocks <= ceiling, missed


@pytest.mark.parametrize(
    ("rows", "floor", "false_blocks"),
    [("trade_said_*", 0.6, 0.03), ("trade_more_*", 0.6, 0.1), ("trade_unseen*", 0.85, 0.03)],
    ids=["said", "more", "unseen"],
)
def test_trades_written_after_the_rules_are_found(rows: str, floor: float, false_blocks: float) -> None:
    """Oblique ones, of which the rules alone find half (said) and four in five (unseen); a hold counts as found."""
    counted: dict[tuple[str, bool], list[int]] = {}
    for path in sorted(WORDINGS.glob(rows)):
        for row in map(json.loads, path.read_text("utf-8").splitlines()):
            if row["part"] != "held_out":
                continue
            language, trade = row["language"], bool(row["labels"])
            earlier = said(*((entry["from"], entry["text"]) for entry in row["earlier"]))
            timeline = [entry.model_copy(update={"language": language}) for entry in earlier]
            worst = [each.severity for each in judge(row["text"], timeline, interaction=message("", language=language))]
            for name in (language, "all"):
                counts = counted.setdefault((name, trade), [0, 0, 0])
                counts[0] += "block" in worst
                counts[1] += "hold" in worst
                counts[2] += 1
    for (name, trade), (blocks, holds, of) in sorted(counted.items()):
        kind = "trades" if trade else "harmless"
        print(f"{rows} {name:3} {kind:8} blocked {blocks / of:.3f} held {holds / of:.3f} of {of}")
    blocks, holds, of = counted["all", True]
    assert blocks + holds >= floor * of
    blocks, holds, of = counted["all", False]
    assert blocks <= false_blocks * of
    assert holds <= 0.1 * of
