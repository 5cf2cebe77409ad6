"""The twin's answers and our reading of refusals, against the document of the Graph API that Meta licenses openly.

That is WhatsApp's; its errors and lists are those of the whole Graph API. Of Pages and Instagram there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
import yaml

from gateway_meta.refusals import refusal
from gateway_meta.twin_events import meta_json
from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry, Unknown

DOCUMENT = Path(__file__).parents[4].parent / "shared" / "specs" / "meta" / "whatsapp-business-messaging-api_v23.0.yaml"
RECOVERY: dict[int, type[GatewayError]] = {
    1: Unknown,
    2: Unknown,
    4: Retry,
    17: Retry,
    613: Retry,
    80007: Retry,
    104: Reauthorise,
    190: Reauthorise,
    803: Gone,
    10: Rejected,
    100: Rejected,
    200: Rejected,
}
"""What each code means after a send; 100 with the subcode 33 is gone."""

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="Meta's API document is not beside this checkout")


@pytest.fixture(scope="module")
def document() -> str:
    """The whole document, of which only parts are read: it is long."""
    return DOCUMENT.read_text("utf-8")


def schema(document: str, name: str) -> dict[str, Any]:
    """One of the document's schemas."""
    start = document.index(f"\n    {name}:\n") + 1
    ends = re.compile(r"^ {0,4}\S", re.MULTILINE).search(document, start + len(name) + 6)
    assert ends is not None
    found: dict[str, Any] = yaml.safe_load(document[start : ends.start()])[name]
    return found


def examples(document: str) -> Iterator[tuple[int, int | None]]:
    """Code and subcode of every error that the document shows."""
    for match in re.finditer(r"error:\n((?:\s+\S.*\n){2,9})", document):
        code, subcode = (re.search(rf"\b{name}: (\d+)\n", match[1]) for name in ("code", "error_subcode"))
        if code is not None and int(code[1]) < 100_000:
            yield int(code[1]), int(subcode[1]) if subcode else None


def test_every_error_of_the_document_has_its_recovery(document: str) -> None:
    found = set(examples(document))
    assert {190, 4, 803, 100, 2} <= {code for code, _ in found}
    for code, subcode in found:
        if code not in RECOVERY:
            continue  # of WhatsApp alone
        error = {"message": "m", "type": "OAuthException", "code": code, "error_subcode": subcode, "fbtrace_id": "A"}
        response = httpx2.Response(400, content=meta_json({"error": error}))
        raised = refusal(response, "pages", effect=True)
        expected = Gone if (code, subcode) == (100, 33) else RECOVERY[code]
        assert type(raised) is expected, (code, subcode)


async def test_the_twins_errors_have_the_documents_form(ground: Any, document: str) -> None:
    form = schema(document, "GraphAPIError")
    plugin = ground.plugin()
    comment = ground.twin.post("jo", "hello", ground.twin.post("acme", "Colours"))
    ground.twin.scopes("acme").discard("pages_read_user_content")
    ground.twin.allowed["messenger"] = 0
    answers = [
        await ground.http.get(f"{ground.twin.url}/v25.0/me"),
        await ground.http.get(f"{ground.twin.url}/v25.0/me", params={"access_token": "none"}),
    ]
    for call in (plugin.api.get("none"), plugin.api.get(comment), plugin.api.get("100200300/conversations")):
        with pytest.raises(GatewayError) as raised:
            await call
        answers.append(raised.value.__cause__.response)  # type: ignore[union-attr]
    assert [answer.json()["error"]["code"] for answer in answers] == [104, 190, 100, 200, 80006]
    for answer in answers:
        jsonschema.validate(answer.json(), form)


async def test_the_twins_lists_have_the_documents_paging(ground: Any, document: str) -> None:
    form = schema(document, "CursorPaging")
    for number in range(30):
        ground.twin.post("acme", f"post {number}")
    _, answer = await ground.plugin().api.get("100200300/feed")
    assert {"cursors", "next"} <= set(answer["paging"])
    jsonschema.validate(answer["paging"], form)
