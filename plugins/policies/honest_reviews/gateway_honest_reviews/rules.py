"""The outside rules a trade in reviews would break: the platform's terms, and the law where the brand is.

Sources: Google Maps "Prohibited and restricted content" (fake engagement), Google Play "Ratings, reviews and installs",
Yelp terms of service and Consumer Alerts, Trustpilot guidelines for businesses, 16 CFR part 465, UK Digital Markets,
Competition and Consumers Act 2024 schedule 20, EU Directive 2005/29/EC annex I 23b and 23c. Not legal advice.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from gateway_schemas.decision import Case

Platform = Literal["google_maps", "google_play", "yelp", "trustpilot", "other"]
Jurisdiction = Literal["us", "uk", "eu"]

TRADE: dict[Platform, str] = {
    "google_maps": (
        "Google Maps: asking to revise or remove a negative review in exchange for discounts, free goods or other"
        " incentives is forbidden"
    ),
    "google_play": "Google Play: ratings may not be incentivised, and a reply does not ask for a higher one",
    "yelp": (
        "Yelp: a refund or another benefit for removing a review breaks its terms and can bring a public Consumer Alert"
    ),
    "trustpilot": "Trustpilot: no incentives of any kind, and no request to change or remove a review",
    "other": "Reviews are not for sale: it deceives the readers, and insults whoever wrote one",
}
ASKING: dict[Platform, str] = {
    "google_maps": "Google Maps: a review is the customer's own, and may not be steered",
    "google_play": "Google Play: a developer's reply stays on the issue and does not ask for a higher rating",
    "yelp": "Yelp: businesses do not ask for reviews",
    "trustpilot": "Trustpilot: do not ask for a review to be changed or removed",
    "other": "A review is the customer's own",
}
GATING: dict[Platform, str] = {
    "google_maps": "Google Maps: asking only happy customers for reviews is forbidden",
    "google_play": "Google Play: reviews are not to be steered",
    "yelp": "Yelp: businesses do not ask for reviews",
    "trustpilot": "Trustpilot: all customers are invited alike, or none",
    "other": "Asking only happy customers for reviews deceives the readers",
}
LAW: dict[Jurisdiction, str] = {
    "us": "a risk under US FTC 16 CFR 465.4 (no compensation for a review of a particular sentiment)",
    "uk": "a risk under the UK DMCC Act 2024, schedule 20 (fake and concealed incentivised reviews)",
    "eu": "a risk under the EU's UCPD, annex I 23b and 23c (fake or unverified reviews)",
}

_SOURCES: dict[str, Platform] = {
    "google_business": "google_maps",
    "google_maps": "google_maps",
    "google_play": "google_play",
    "play": "google_play",
    "yelp": "yelp",
    "trustpilot": "trustpilot",
}
_HOSTS: tuple[tuple[str, Platform], ...] = (
    ("play.google.com", "google_play"),
    ("trustpilot.com", "trustpilot"),
    ("yelp.com", "yelp"),
    ("maps.google.com", "google_maps"),
    ("maps.app.goo.gl", "google_maps"),
    ("google.com", "google_maps"),
)
_US = ("America/", "US/")
_UNITED_KINGDOM = ("Europe/London", "Europe/Belfast", "GB")
_NOT_EU = ("Europe/Zurich", "Europe/Oslo", "Europe/Moscow", "Europe/Istanbul", "Europe/Kyiv", "Europe/Kiev")
_AMERICA_NOT_US = (
    *("America/Sao_Paulo", "America/Mexico_City", "America/Toronto", "America/Vancouver", "America/Bogota"),
    *("America/Lima", "America/Santiago", "America/Argentina/Buenos_Aires", "America/Caracas", "America/Montevideo"),
    *("America/Montreal", "America/Halifax", "America/Winnipeg", "America/Edmonton", "America/Guayaquil"),
)


def platform(case: Case) -> Platform:
    """Where the reply goes, by the source plugin's name, else by the address of what it answers."""
    if known := _SOURCES.get(case.source):
        return known
    url = case.interaction.url if case.interaction is not None else None
    try:
        host = (urlsplit(url).hostname or "") if url else ""
    except ValueError:
        return "other"
    for name, found in _HOSTS:
        if host == name or host.endswith(f".{name}"):
            return found
    return "other"


def jurisdictions(case: Case, chosen: tuple[Jurisdiction, ...]) -> tuple[Jurisdiction, ...]:
    """The laws to name: those that were chosen, else the one of the brand's time zone, as far as that tells."""
    zone = case.timezone
    if chosen:
        return chosen
    if zone.startswith(_UNITED_KINGDOM):
        return ("uk",)
    if zone.startswith("Europe/") and zone not in _NOT_EU:
        return ("eu",)
    if zone.startswith(_US) and zone not in _AMERICA_NOT_US:
        return ("us",)
    return ()


def trade_rule(case: Case, chosen: tuple[Jurisdiction, ...]) -> str:
    """The rule that value for a change would break, with the laws it may touch."""
    return "; ".join((TRADE[platform(case)], *(LAW[each] for each in jurisdictions(case, chosen))))
