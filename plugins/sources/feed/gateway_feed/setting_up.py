"""Which feeds a page has, whether one can be read, and what mends it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Literal

import httpx2

from gateway_feed.config import FeedConfig
from gateway_feed.fetching import ACCEPT, MOVED_ELSEWHERE, Fetched, fetch
from gateway_feed.normalise import normalise
from gateway_feed.parsing import Parsed, parse, time_of
from gateway_feed.polling import GONE, STREAM, note
from gateway_schemas.errors import GatewayError, Gone, Malformed, Reauthorise, Rejected, Retry
from gateway_schemas.plugin import AccountRef, Health, HealthFinding, Newest, newest_of
from gateway_schemas.time import TimeSource
from gateway_schemas.webhook import RawDelivery

_FEEDS = ("application/rss+xml", "application/atom+xml", "application/rdf+xml")
_MOST = 20
Severity = Literal["info", "warning", "error"]


async def check(http: httpx2.AsyncClient, config: FeedConfig, time: TimeSource) -> Health:
    """Read the feed once, whatever the last poll had: also one whose server always says that nothing has changed."""
    newest: tuple[Newest, ...] = ()
    try:
        fetched = await fetch(http, config, config.url, time.now())
        findings = _of_answer(config, fetched)
        if not fetched.gone and not any(one.severity == "error" for one in findings):
            page = RawDelivery("probe", "poll", fetched.response.content, time.now(), stream=STREAM, note=note(fetched))
            newest = newest_of(normalise(page, config))
    except GatewayError as error:
        findings = [_problem(error)]
    return Health(ok=not any(one.severity == "error" for one in findings), findings=tuple(findings), newest=newest)


def _of_answer(config: FeedConfig, fetched: Fetched) -> list[HealthFinding]:
    if fetched.gone:
        mend = "remove it, or enter another address"
        return [_finding("error", GONE, "the feed has ended for good (410 Gone)", mend)]
    findings: list[HealthFinding] = []
    if fetched.moved_to is not None:
        message = f"the feed has moved to {fetched.moved_to} for good, and is followed there"
        findings.append(_finding("warning", "moved", message, "enter the new address"))
    try:
        parsed = parse(fetched.response.content, fetched.url, fetched.response.headers.get("content-type"))
    except Malformed as error:
        return [*findings, _problem(error)]
    return [*findings, *_of_feed(parsed)]


def _of_feed(parsed: Parsed) -> list[HealthFinding]:
    findings: list[HealthFinding] = []
    if parsed.cut_off:
        message = "the feed breaks off in the middle"
        findings.append(_finding("warning", "cut_off", message, "tell whoever runs the site"))
    elif not parsed.well_formed:
        message = "the feed is no well-formed XML; what can be read of it is taken"
        findings.append(_finding("warning", "not_well_formed", message, "tell whoever runs the site"))
    if not parsed.entries:
        findings.append(_finding("info", "no_entries", "the feed has no entries yet", "nothing to do"))
    nameless = [one for one in parsed.entries if not one.get("id")]
    if nameless:
        message = f"{len(nameless)} of {len(parsed.entries)} entries have no id; one whose link changes looks new"
        findings.append(_finding("warning", "no_ids", message, "tell whoever runs the site"))
    undated = [one for one in parsed.entries if not (time_of(one, "published") or time_of(one, "updated"))]
    if undated:
        message = f"{len(undated)} of {len(parsed.entries)} entries have no date; they count from when they are seen"
        findings.append(_finding("warning", "no_dates", message, "tell whoever runs the site"))
    return findings


def _problem(error: GatewayError) -> HealthFinding:
    match error:
        case Reauthorise():
            return _finding("error", error.code, "the feed wants credentials", "enter them as `authorization`")
        case Retry():
            return _finding("warning", error.code, error.reason, "nothing to do: it is tried again")
        case Gone():
            return _finding("error", "not_found", error.reason, "look at the address; `discover` finds a page's feeds")
        case Malformed():
            return _finding("error", error.code, error.reason, "`discover` finds the feeds of a page")
        case Rejected() if error.code == MOVED_ELSEWHERE:
            return _finding("error", error.code, error.reason, "enter the new address, or allow the host")
    return _finding("error", error.code, error.reason, "look at the address, then check again")


async def discover(http: httpx2.AsyncClient, config: FeedConfig, time: TimeSource) -> list[AccountRef]:
    """The feeds that the page at the address names; of a feed itself and those of its comments. Raises GatewayError."""
    fetched = await fetch(http, config, config.url, time.now(), accept=f"{ACCEPT}, text/html")
    if fetched.gone:
        raise Rejected("the page has ended for good (410 Gone)", code=GONE)
    response = fetched.response
    if "html" in response.headers.get("content-type", "").lower():
        page = _Alternates()
        page.feed(response.text)
        page.close()
        named = page.found
    else:
        parsed = parse(response.content, fetched.url, response.headers.get("content-type"))
        named = [(fetched.url, str(parsed.feed.get("title") or fetched.url)), *_comment_feeds(parsed)]
    found: dict[str, AccountRef] = {}
    for address, title in named:
        try:
            url = FeedConfig(url=str(httpx2.URL(fetched.url).join(address))).url
        except (ValueError, httpx2.InvalidURL):
            continue
        found.setdefault(url, AccountRef(external_id=url, name=title or url, config={"url": url}))
    return list(found.values())[:_MOST]


def _comment_feeds(parsed: Parsed) -> list[tuple[str, str]]:
    """The feed of comments that each entry names (`wfw:commentRss`, or a link `replies` that is a feed)."""
    found: list[tuple[str, str]] = []
    for entry in parsed.entries:
        title = f"Comments on {entry.get('title') or entry.get('link') or 'an entry'}"
        if isinstance(entry.get("wfw_commentrss"), str):
            found.append((entry["wfw_commentrss"], title))
        links: Any = entry.get("links") or ()
        found += [(one["href"], title) for one in links if one.get("rel") == "replies" and one.get("type") in _FEEDS]
    return found


class _Alternates(HTMLParser):
    """The feeds in a page's head."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        kind = given.get("type", "").partition(";")[0].strip().lower()
        alternate = tag == "link" and "alternate" in given.get("rel", "").lower().split()
        if alternate and kind in _FEEDS and given.get("href"):
            self.found.append((given["href"], given.get("title", "")))


def _finding(severity: Severity, code: str, message: str, mend: str) -> HealthFinding:
    return HealthFinding(severity=severity, code=code, message=message, mend=mend, concern="read")
