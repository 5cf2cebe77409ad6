"""Who is let in, what a config may hold, and what a connection says that it can do."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from pydantic import ValidationError

from gateway_inbound.config import InboundConfig
from gateway_inbound.source import InboundSource
from gateway_schemas.errors import Rejected, Unverified
from gateway_schemas.interaction import Author, Interaction, ReplyTarget
from gateway_schemas.length import Counting
from gateway_schemas.reply import Draft, OutgoingFile
from gateway_schemas.webhook import WebhookRequest

MakeSource = Callable[..., InboundSource]

AT = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
KEY = b"for the fixtures of inbound only"
OTHER = base64.b64encode(b"another secret of another system").decode()
REPLY = {"reply_url": "https://forum.example/replies", "reply_secret": "whsec_" + OTHER}


def request(
    body: bytes = b"{}",
    *,
    key: bytes = KEY,
    method: str = "POST",
    timestamp: str = str(int(AT.timestamp())),
    message_id: str = "msg_1",
    signature: str | None = None,
) -> WebhookRequest:
    """A request signed by hand, as the specification reads, not with the code under test."""
    code = base64.b64encode(hmac.new(key, f"msg_1.{timestamp}.".encode() + body, hashlib.sha256).digest()).decode()
    signed = {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": timestamp,
        "Webhook-Signature": f"v1,{code}" if signature is None else signature,
    }
    pairs = tuple((name.encode(), value.encode()) for name, value in signed.items() if value)
    return WebhookRequest(method=method, path="/hooks/1", query=b"", headers=pairs, body=body, received_at=AT)


def interaction(**fields: Any) -> Interaction:
    basis: dict[str, Any] = {
        "external_id": "c-77",
        "revision": "1",
        "account": "default",
        "kind": "comment",
        "visibility": "public",
        "author": Author(external_id="u"),
        "published_at": AT,
    }
    return Interaction(**{**basis, **fields})


def draft(text: str = "Sorry, we are on it.", **fields: Any) -> Draft:
    basis: dict[str, Any] = {
        "reply_id": "r-1",
        "text": text,
        "account": "default",
        "target": ReplyTarget(kind="comment", ref="c-77"),
        "visibility": "public",
        "interaction": interaction(),
    }
    return Draft(**{**basis, **fields})


def test_a_request_signed_by_the_specification_is_let_in(make_source: MakeSource) -> None:
    assert make_source().verify(request(b'{"a": 1}\n')) is None


def test_either_secret_is_good_while_one_is_being_replaced(make_source: MakeSource) -> None:
    secrets = ["whsec_" + OTHER, "whsec_" + base64.b64encode(KEY).decode()]
    source = make_source(signing_secrets=secrets)
    assert source.verify(request()) is None
    assert source.verify(request(key=base64.b64decode(OTHER))) is None


@pytest.mark.parametrize("seconds", [-301, 301])
def test_what_is_too_old_or_from_the_future_is_refused(seconds: int, make_source: MakeSource) -> None:
    late = request(timestamp=str(int(AT.timestamp()) + seconds))
    with pytest.raises(Unverified):
        make_source().verify(late)
    assert make_source(tolerance=302).verify(late) is None


@pytest.mark.parametrize(
    "wrong",
    [
        request(key=b"x" * 32),
        request(signature=""),
        request(signature="v1,"),
        request(message_id="msg_2"),
        request(timestamp="soon"),
        request(method="GET"),
        request(method="PUT"),
    ],
)
def test_everything_else_is_refused(wrong: WebhookRequest, make_source: MakeSource) -> None:
    with pytest.raises(Unverified):
        make_source().verify(wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"signing_secrets": []}, "at least 1 item"),
        ({"signing_secrets": ["whsec_"]}, "24 to 64 random bytes"),
        ({"signing_secrets": ["whsec_" + base64.b64encode(b"brief").decode()]}, "24 to 64 random bytes"),
        ({"signing_secrets": ["whsec_not base64!"]}, "openssl rand -base64 32"),
        ({"signing_secrets": [OTHER]}, "expected whsec_"),
        ({"reply_url": "https://forum.example/replies"}, "reply_secret is required with reply_url"),
        ({**REPLY, "reply_url": "forum.example/replies"}, "expected an address such as"),
        ({**REPLY, "reply_url": "ftp://forum.example/replies"}, "expected an address such as"),
        ({**REPLY, "reply_url": "https://user:pass@forum.example/"}, "expected an address such as"),
        ({**REPLY, "reply_url": "https://forum.example:99999/"}, "expected an address such as"),
        ({**REPLY, "reply_url": "https://forum.example/a\nb"}, "expected an address such as"),
        ({**REPLY, "reply_url": "/replies"}, "expected an address such as"),
        ({"tolerance": 0}, "greater than or equal to 1"),
        ({"typo": 1}, "not permitted"),
    ],
)
def test_a_config_that_cannot_work_is_refused_without_showing_it(
    change: dict[str, Any], said: str, make_source: MakeSource
) -> None:
    with pytest.raises(ValidationError) as caught:
        make_source(**change)
    assert said in str(caught.value)
    for secret in (OTHER, "YnJpZWY", "not base64!", "pass@"):
        assert secret not in str(caught.value)


def test_capabilities_are_those_of_the_connection(make_source: MakeSource) -> None:
    silent, answering = make_source(), make_source(**REPLY, text_limit=500, text_counting="utf16_units", one_slot=True)
    assert not any([silent.capabilities.reply, silent.capabilities.edit, silent.capabilities.idempotent_send])
    assert answering.capabilities.reply
    assert answering.capabilities.one_slot
    assert answering.capabilities.text["comment"].limit == 500
    assert answering.capabilities.idempotent_send
    assert not make_source(**REPLY, receiver_dedupes=False).capabilities.idempotent_send
    # what is claimed of every connection must hold for the weakest
    assert not InboundSource.capabilities.idempotent_send
    assert InboundSource.hosts_of(answering.config) == ("https://forum.example/replies",)
    assert InboundSource.hosts_of(silent.config) == ()
    assert InboundSource.account_of(InboundConfig.model_validate({**silent.config.model_dump(), "account": "a"})) == "a"


def test_the_entry_point_registers_the_source() -> None:
    module = EntryPoint("inbound", "gateway_inbound.plugin", "helpdesk_gateway.plugins").load()
    assert module.register_sources() == [InboundSource]


def test_the_whole_reply_is_rendered_before_it_is_decided_on(make_source: MakeSource) -> None:
    source = make_source(**REPLY, text_limit=10, text_counting=Counting.utf16_units)
    target = ReplyTarget(kind="direct_message", ref="m-2", recipient="u", extra={"shard": 2})
    message = interaction(kind="direct_message", visibility="private", in_reply_to="m-1", root="conversation-5")
    rendered = source.render(draft("😀" * 6, target=target, visibility="private", interaction=message))
    assert (rendered.text, rendered.length, rendered.limit) == ("😀" * 6, 12, 10)
    assert rendered.body == {
        "reply_id": "r-1",
        "account": "default",
        "kind": "direct_message",
        "in_reply_to": "m-2",
        "root": "conversation-5",
        "visibility": "private",
        "text": "😀" * 6,
        "recipient": "u",
        "extra": {"shard": 2},
    }
    assert source.render(draft()).body["root"] == "c-77"
    assert source.render(draft(interaction=interaction(in_reply_to="c-70"))).body["root"] is None


def test_what_cannot_be_sent_is_refused_before_anyone_decides(make_source: MakeSource) -> None:
    with pytest.raises(Rejected, match="has no reply_url") as caught:
        make_source().render(draft())
    assert caught.value.code == "no_replies"
    file = OutgoingFile(sha256="0", media_type="image/png", name="a.png", size=1)
    with pytest.raises(Rejected) as caught:
        make_source(**REPLY).render(draft(files=(file,)))
    assert caught.value.field == "files"


async def test_install_says_what_to_enter_at_the_other_side(make_source: MakeSource) -> None:
    report = await make_source(**REPLY).install(dry_run=False)
    assert [step.action for step in report.steps] == ["ask", "ask"]
    assert "https://forum.example/replies" in report.steps[1].detail
    assert len((await make_source().install(dry_run=True)).steps) == 1
