"""What customers write is shown to agents as they wrote it: it is neither HTML nor Markdown there, at any helpdesk.

For each helpdesk what is sent is read as that helpdesk renders it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from markdown_it import MarkdownIt

from gateway_chatwoot.payloads import message as chatwoot_message
from gateway_freshdesk.payloads import comment_html
from gateway_request_tracker.payloads import message as rt_message
from gateway_schemas.interaction import Attachment
from gateway_schemas.ticket import OutgoingComment, Requester
from gateway_zendesk.payloads import comment_body

HOSTILE = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<img src=x onerror=alert(1)//",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<a href='javascript:alert(1)'>click</a>",
    '<a href="https://evil.example">https://bank.example</a>',
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    "</div></td></table><form action=https://evil.example><input name=password>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><x/>",
    "<style>*{display:none}</style>",
    "<base href=https://evil.example/>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "<br><hr><h1>big</h1>",
    "[click](javascript:alert(1))",
    "[https://bank.example](https://evil.example)",
    "\\[https://bank.example](https://evil.example)",
    "\\\\[https://bank.example](https://evil.example)",
    "![](https://evil.example/pixel.gif?who=agent)",
    "\\![x](https://evil.example/pixel.gif)",
    "[![x](https://evil.example/p.gif)](https://evil.example)",
    "[a [b] c](https://evil.example)",
    "[bank][1]\n\n[1]: https://evil.example",
    "[bank]\n\n[bank]: https://evil.example 'title'",
    "\\<img src=x onerror=alert(1)>",
    "```\n</code><script>alert(1)</script>\n```",
    '<https://evil.example/" onmouseover="alert(1)>',
    "text with < and > and [brackets] and 5 <6 and a_b_c",
]

ADDRESSES = [
    None,
    "https://social.example/1",
    "javascript:alert(1)",
    'https://social.example/"onmouseover="alert(1)',
    "https://social.example/'><script>alert(1)</script>",
    "https://social.example/[x](https://evil.example)",
]

RITA = Requester(external_id="x:1", name="Rita <b>R</b> [x](https://evil.example)", provider="x")
OTHER = Requester(external_id="x:2", name="Bob", provider="x")
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Read(HTMLParser):
    """The elements of a piece of HTML, and the text that is seen."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.seen = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "br":
            self.seen += "\n"

    def handle_data(self, data: str) -> None:
        self.seen += data

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment", {}))

    def handle_decl(self, decl: str) -> None:
        self.elements.append(("declaration", {}))

    unknown_decl = handle_decl
    handle_pi = handle_decl


def check_html(markup: str, text: str) -> None:
    """Only our own elements, and the text as it was written."""
    read = Read(markup)
    for tag, attributes in read.elements:
        assert tag in ("br", "div", "a"), markup
        assert set(attributes) <= {"style", "href"}, markup
        address = attributes.get("href")
        assert address is None or address.startswith(("https://", "http://")), markup
    assert text.replace("\x00", "") in read.seen.replace("\x00", "").replace("\ufffd", ""), markup


def check_markdown(markdown: str, text: str) -> None:
    """No element that acts: read twice, as strictly and as generously as dashboards do."""
    for options in ({"html": True}, {"html": True, "linkify": False, "typographer": True}):
        parser = MarkdownIt("commonmark", options).enable(["table", "strikethrough"])
        tokens = list(_flat(parser.parse(markdown)))
        kinds = {token.type for token in tokens}
        assert not kinds & {"html_block", "html_inline", "image"}, markdown
        for number, token in enumerate(tokens):
            if token.type == "link_open":
                assert html.unescape(tokens[number + 1].content) in str(token.attrGet("href")), markdown
    assert text.replace("\\", "") in markdown.replace("\\", "")


def _flat(tokens: Any) -> Iterator[Any]:
    for token in tokens:
        yield token
        yield from _flat(token.children or [])


def zendesk(comment: OutgoingComment) -> None:
    """`html_body` is rendered as HTML; `body` is taken for text unless it looks like HTML."""
    body = comment_body(comment, 1)
    if "html_body" in body:
        check_html(body["html_body"], comment.text)
    else:
        assert Read(body["body"]).elements == []


def freshdesk(comment: OutgoingComment) -> None:
    """Always HTML."""
    check_html(comment_html(comment), comment.text)


def chatwoot(comment: OutgoingComment) -> None:
    """Rendered as Markdown, whoever wrote it."""
    for requester in (RITA, OTHER):
        check_markdown(chatwoot_message(comment, requester)["content"], comment.text)


def request_tracker(comment: OutgoingComment) -> None:
    """Plain text, and said to be."""
    body = rt_message(comment, None)
    assert body["ContentType"] == "text/plain"
    assert comment.text in body["Content"]
    assert "\n" not in body["Subject"]


DESKS: list[Callable[[OutgoingComment], None]] = [zendesk, freshdesk, chatwoot, request_tracker]


@pytest.mark.parametrize("desk", DESKS, ids=lambda one: one.__name__)
def test_what_customers_write_is_no_markup(desk: Callable[[OutgoingComment], None], subtests: pytest.Subtests) -> None:
    for text in HOSTILE:
        for url in ADDRESSES:
            with subtests.test(f"{text} {url}"):
                file = Attachment(url=f"https://files.example/{text}", name=text, media_type="image/png")
                for given in ((), (file,)):
                    desk(OutgoingComment(key="c1", text=text, author=RITA, at=AT, url=url, attachments=given))


def test_what_is_no_markup_stays_as_it_is() -> None:
    text = "I waited 5 <6 weeks [sic], see https://shop.example/a_b?c=1*2 and *really*: a < b > c"
    comment = OutgoingComment(key="c1", text=text, author=RITA, at=AT)
    assert chatwoot_message(comment, RITA)["content"] == text
    assert comment_body(comment, 1)["body"] == text
