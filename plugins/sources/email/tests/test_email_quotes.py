"""What is new in a mail: six languages' ways to say that history begins."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_email.html import html_text
from gateway_email.quotes import new_words

NEW = "It is still not here."
ATTRIBUTIONS = {
    "English, Gmail": "On Sun, Nov 22, 2026 at 9:00 AM Acme Help <help@acme.example> wrote:",
    "English, folded": "On Sun, Nov 22, 2026 at 9:00 AM Acme Help\n<help@acme.example> wrote:",
    "English, Apple": "> On 22 Nov 2026, at 09:00, Acme Help <help@acme.example> wrote:",
    "German, Gmail": "Am So., 22. Nov. 2026 um 09:00 Uhr schrieb Acme Help <\nhelp@acme.example>:",
    "German, name first": "Acme Help <help@acme.example> schrieb am So., 22. Nov. 2026, 09:00:",
    "German, Thunderbird": "Am 22.11.26 um 09:00 schrieb Acme Help:",
    "German, GMX": 'Gesendet: Sonntag, 22. November 2026 um 09:00 Uhr\nVon: "Acme Help" <help@acme.example>\nAn: rita',
    "French, Gmail": "Le dim. 22 nov. 2026 à 09:00, Acme Help <help@acme.example> a écrit :",
    "French, Apple": "Le 22 nov. 2026 à 09:00, Acme Help <help@acme.example> a écrit :",
    "Spanish, Gmail": "El dom, 22 nov 2026 a las 9:00, Acme Help (<help@acme.example>) escribió:",
    "Italian, Gmail": "Il giorno dom 22 nov 2026 alle ore 09:00 Acme Help <help@acme.example> ha scritto:",
    "Italian, Apple": "Il giorno 22 nov 2026, alle ore 09:00, Acme Help <help@acme.example> ha scritto:",
    "Portuguese, Gmail": "Em dom., 22 de nov. de 2026 às 09:00, Acme Help <help@acme.example> escreveu:",
    "Portuguese, Apple": "No dia 22/11/2026, às 09:00, Acme Help <help@acme.example> escreveu:",
}
BLOCKS = {
    "English": "From: Acme Help <help@acme.example>\nSent: Sunday, November 22, 2026 9:00 AM\nTo: Rita\nSubject: RE: x",
    "English, bold": "*From:* Acme Help <help@acme.example>\n*Date:* Sunday\n*To:* Rita\n*Subject:* x",
    "German": "Von: Acme Help <help@acme.example>\nGesendet: Sonntag, 22. November 2026\nAn: Rita\nBetreff: AW: x",
    "French": "De : Acme Help <help@acme.example>\nEnvoyé : dimanche 22 novembre 2026 09:00\nÀ : Rita\nObjet : RE: x",
    "Spanish": "De: Acme Help <help@acme.example>\nEnviado: domingo\nPara: Rita\nAsunto: RE: x",
    "Italian": "Da: Acme Help <help@acme.example>\nInviato: domenica\nA: Rita\nOggetto: R: x",
    "Portuguese": "De: Acme Help <help@acme.example>\nEnviada em: domingo\nPara: Rita\nAssunto: RES: x",
}
RULES = [
    "-----Original Message-----",
    "-----Ursprüngliche Nachricht-----",
    "-----Message d'origine-----",
    "-----Mensaje original-----",
    "-----Messaggio originale-----",
    "-----Mensagem original-----",
    "---------- Forwarded message ---------",
]


@pytest.mark.parametrize("heading", ATTRIBUTIONS.values(), ids=ATTRIBUTIONS.keys())
@pytest.mark.parametrize("history", ["> We are sorry.\n>\n> Acme", "We are sorry.\n\nAcme"], ids=["marked", "bare"])
def test_attributions(heading: str, history: str) -> None:
    if heading.startswith("Gesendet"):
        heading = heading.partition("\n")[2] + "\nBetreff: x"
    assert new_words(f"{NEW}\n\n{heading}\n\n{history}\n") == NEW


@pytest.mark.parametrize("heading", BLOCKS.values(), ids=BLOCKS.keys())
@pytest.mark.parametrize("above", ["", "________________________________\n"])
def test_header_blocks(heading: str, above: str) -> None:
    assert new_words(f"{NEW}\n\n{above}{heading}\n\nWe are sorry.\n") == NEW


@pytest.mark.parametrize("rule", RULES)
def test_rules(rule: str) -> None:
    assert new_words(f"{NEW}\n\n{rule}\nFrom: x\n\nWe are sorry.") == NEW


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (f"{NEW}\n\n-- \nRita\n+49 1", NEW),
        (f"{NEW}\n\nSent from my iPhone", NEW),
        (f"{NEW}\n\nVon meinem iPhone gesendet\n\nAm 22.11.26 um 09:00 schrieb Acme Help:\n> x", NEW),
        ("> a\n> b", "> a\n> b"),
        ("On Monday I wrote: nothing came.", "On Monday I wrote: nothing came."),
        ("From: your shop\nTo: me\nthat is how it began", "From: your shop\nTo: me\nthat is how it began"),
        ("He said:\nno", "He said:\nno"),
        ("", ""),
    ],
)
def test_what_stays(text: str, new: str) -> None:
    assert new_words(text) == new


def test_answers_between_the_lines_stay_with_what_they_answer() -> None:
    text = "On 22 Nov 2026, at 09:00, Acme <help@acme.example> wrote:\n> Which order?\n4711\n> Which address?\nHome 1"
    assert new_words(text) == text
    # a signature below the history is no answer
    below = f"{NEW}\n\nOn 22 Nov 2026, at 09:00, Acme <help@acme.example> wrote:\n> x\n\n-- \nRita"
    assert new_words(below) == NEW


@pytest.mark.parametrize(
    "history",
    [
        '<div class="gmail_quote"><div class="gmail_attr">On x wrote:</div><blockquote>old</blockquote></div>',
        '<div id="appendonsend"></div><hr><div id="divRplyFwdMsg"><b>From:</b> x</div>old',
        '<div class="moz-cite-prefix">Am 22.11.26 um 09:00 schrieb Acme:</div><blockquote type="cite">old</blockquote>',
        '<p>On 22 Nov 2026, at 09:00, Acme &lt;h@acme.example&gt; wrote:</p><blockquote type="cite">old</blockquote>',
        '<div class="yahoo_quoted">On Sunday, Acme wrote: old</div>',
        '<div style="border:none;border-top:solid #E1E1E1 1.0pt"><p>From: Acme</p></div>old',
        '<div class="protonmail_quote">old</div>',
    ],
)
def test_html_history(history: str) -> None:
    assert new_words(html_text(f"<p>It is <b>still</b> not here.</p>{history}")) == NEW


def test_html_as_text() -> None:
    markup = (
        "<style>x</style><h1>Hi</h1><p>one<br>two &amp; <a href='https://a.example'>three</a></p>"
        "<ul><li>a</li><li>b</li></ul><script>alert(1)</script><blockquote>kept</blockquote>"
    )
    assert html_text(markup) == "Hi\n\none\ntwo & three (https://a.example)\n\n- a\n- b\n\nkept"


@given(
    st.lists(
        st.sampled_from([*ATTRIBUTIONS.values(), *RULES, "> x", "", "words", "-- ", "From: a", "To: b"]), max_size=12
    )
)
@settings(max_examples=40, deadline=None)
def test_nothing_is_made_up_and_something_stays(lines: list[str]) -> None:
    text = "\n".join(lines)
    found = new_words(text)
    assert found in text.strip() or not found
    assert bool(found) == bool(text.strip())
