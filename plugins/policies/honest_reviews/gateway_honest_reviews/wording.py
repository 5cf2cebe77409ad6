"""What to say instead: goodwill without the tie, in the language of the reply."""

from __future__ import annotations

_UNTIED = {
    "en": "We are sorry about what happened and would like to make it up to you. What you write in your review is "
    "entirely up to you.",
    "es": "Lamentamos lo ocurrido y queremos compensarle. Lo que escriba en su reseña es decisión suya.",
    "fr": "Nous sommes désolés de ce qui s'est passé et souhaitons nous rattraper. Ce que vous écrivez dans votre avis "
    "ne dépend que de vous.",
    "de": "Was passiert ist, tut uns leid, und wir möchten es wiedergutmachen. Was Sie in Ihrer Bewertung schreiben, "
    "entscheiden ganz allein Sie.",
    "pt": "Lamentamos o que aconteceu e queremos compensar. O que escreve na sua avaliação é uma decisão só sua.",
    "it": "Ci dispiace per quanto è successo e vorremmo rimediare. "
    "Quello che scrive nella recensione lo decide solo lei.",
}
_NO_TRADE = {
    "en": "We will put right what went wrong, whatever you decide about your review: it is yours.",
    "es": "Vamos a solucionar lo que falló, decida lo que decida sobre su reseña: es suya.",
    "fr": "Nous réparerons ce qui n'a pas fonctionné, quoi que vous décidiez pour votre avis : il vous appartient.",
    "de": "Wir bringen in Ordnung, was schiefging, was immer Sie mit Ihrer Bewertung tun: Sie gehört Ihnen.",
    "pt": "Vamos resolver o que correu mal, decida o que decidir sobre a sua avaliação: ela é sua.",
    "it": "Rimedieremo a ciò che è andato storto, qualunque cosa decida per la recensione: è sua.",
}
_NO_REQUEST = {
    "en": "Thank you for telling us. We have taken care of it, and are here if anything else comes up.",
    "es": "Gracias por contárnoslo. Ya nos hemos ocupado de ello y aquí estamos para lo que necesite.",
    "fr": "Merci de nous l'avoir signalé. Nous nous en sommes occupés et restons à votre disposition.",
    "de": "Danke, dass Sie es uns gesagt haben. Wir haben uns darum gekümmert und sind für Sie da.",
    "pt": "Obrigado por nos ter avisado. Já tratámos do assunto e estamos à disposição.",
    "it": "Grazie per avercelo segnalato. Ce ne siamo occupati e restiamo a disposizione.",
}
_ANYBODY = {
    "en": "We would be glad to read about your experience, good or bad.",
    "es": "Nos alegrará leer su experiencia, sea buena o mala.",
    "fr": "Nous serons heureux de lire votre expérience, bonne ou mauvaise.",
    "de": "Wir freuen uns über Ihre Erfahrung, ob gut oder schlecht.",
    "pt": "Gostaríamos de ler a sua experiência, boa ou má.",
    "it": "Saremo felici di leggere la sua esperienza, bella o brutta che sia.",
}


def _say(instruction: str, wordings: dict[str, str], language: str | None) -> str:
    primary = (language or "en").replace("_", "-").split("-")[0].lower()
    return f"{instruction}: “{wordings.get(primary, wordings['en'])}”"


def untied(language: str | None) -> str:
    """Keep the goodwill, drop the condition."""
    return _say("Keep the goodwill and drop the condition", _UNTIED, language)


def no_trade(language: str | None) -> str:
    """Answer a customer who proposes a trade."""
    return _say("Help without the trade", _NO_TRADE, language)


def no_request(language: str | None) -> str:
    """Close without asking for anything."""
    return _say("Leave the review to the customer", _NO_REQUEST, language)


def for_anybody(language: str | None) -> str:
    """Ask everybody alike."""
    return _say("Ask everybody, or nobody", _ANYBODY, language)
