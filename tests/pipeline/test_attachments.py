"""Files in both directions: a customer's picture reaches the agent, an agent's the channel, without metadata."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta
from typing import Any

import pytest
from PIL import Image

from gateway_schemas.testing.twin import Fault

LineLike = Any


def photo(colour: str = "red", *, place: str = "") -> bytes:
    """A small JPEG, with EXIF data where a place is named."""
    exif = Image.Exif()
    if place:
        exif[0x010E] = place  # ImageDescription
        exif[0x0112] = 6  # to be shown turned
    out = io.BytesIO()
    Image.new("RGB", (24, 16), colour).save(out, "JPEG", exif=exif, comment=place.encode())
    return out.getvalue()


async def test_a_customers_picture_hangs_on_the_ticket(line: LineLike) -> None:
    picture = line.x.picture(photo(), alt_text="the torn box")
    line.x.post("rita", "@AcmeSupport look at this", media=[picture])
    await line.settle()
    [comment] = line.ticket(1).comments
    [file] = comment.attachments
    token = file["content_url"].split("/token/")[1].split("/")[0]
    assert line.desk.desk.contents[token] == (photo(), "image/jpeg")
    row = (await line.gateway.rows("SELECT * FROM attachment"))[0]
    assert (row["state"], row["sha256"]) == ("stored", hashlib.sha256(photo()).hexdigest())


async def test_a_message_does_not_wait_for_ever_and_its_file_follows(make_line: Any) -> None:
    async with make_line(file_patience=0.2) as line:
        line.x.faults.append(Fault("status_before", path="/media/", times=1, status=503))
        picture = line.x.picture(photo("blue"))
        line.x.post("rita", "@AcmeSupport see the picture", media=[picture])
        await line.settle()
        await line.gateway.until(
            lambda: line.gateway.value("SELECT count(*) FROM attachment WHERE state = 'stored'"), "the second try"
        )
        await line.settle()
        first, second = line.ticket(1).comments
        assert (first.attachments, first.public) == ([], True)
        assert (len(second.attachments), second.public) == (1, False)
        assert "came later" in second.body


@pytest.mark.parametrize(
    ("status", "state"),
    [(404, "failed"), (410, "failed"), (403, "refused")],
    ids=["gone", "gone for good", "forbidden"],
)
async def test_a_picture_that_cannot_be_had_is_named_by_its_link(line: LineLike, status: int, state: str) -> None:
    line.x.faults.append(Fault("status_before", path="/media/", times=1, status=status))
    picture = line.x.picture(photo())
    line.x.post("rita", "@AcmeSupport broken again", media=[picture])
    await line.settle()
    [comment] = line.ticket(1).comments
    assert comment.attachments == []
    # a webhook names a picture by its key alone; a poll, which may be faster, by its address
    assert "[attachment]" in comment.body or "[image/jpeg] http" in comment.body
    row = (await line.gateway.rows("SELECT state, reason FROM attachment"))[0]
    assert row["state"] == state
    assert row["reason"]


async def test_files_are_fetched_from_the_hosts_of_the_connection_only(line: LineLike) -> None:
    """The guard against requests to places they have no business at holds for links in foreign posts too."""
    await line.gateway.change_config(line.source, media_hosts=["https://pbs.twimg.com"])
    picture = line.x.picture(photo())
    line.x.post("rita", "@AcmeSupport a link into your network", media=[picture])
    await line.settle()
    assert not [path for _, path, _ in line.x.requests if path.startswith("/media/E")]
    assert await line.gateway.value("SELECT state FROM attachment") == "refused"


async def test_a_file_over_the_limit_is_not_copied(make_line: Any) -> None:
    async with make_line(file_limit=100) as line:
        line.x.post("rita", "@AcmeSupport large", media=[line.x.picture(photo())])
        await line.settle()
        row = (await line.gateway.rows("SELECT state, reason FROM attachment"))[0]
        assert row["state"] == "refused"
        assert len(line.ticket(1).comments) == 1


async def test_an_agents_picture_goes_out_without_its_metadata(line: LineLike) -> None:
    post = line.x.post("rita", "@AcmeSupport where is the shop?")
    await line.settle()
    original = photo("green", place="Depot 7, back door")
    await line.answer(1, "Here, Rita.", files=[("shop.jpg", original, "image/jpeg")])
    [published] = line.x.published("AcmeSupport")
    assert (published.written, published.in_reply_to, len(published.media)) == ("Here, Rita.", post, 1)
    [upload] = line.x.media.uploads.values()
    sent = Image.open(io.BytesIO(upload.body))
    assert b"Depot 7" in original
    assert b"Depot 7" not in upload.body
    assert not dict(sent.getexif())
    assert sent.size == (16, 24), "turned as it was to be shown"
    reply = await line.reply()
    assert reply["rendered"]["files"][0]["sha256"] == hashlib.sha256(upload.body).hexdigest()


async def test_a_picture_sent_into_an_unknown_outcome_is_found_and_not_sent_again(make_line: Any) -> None:
    async with make_line(call_timeout=0.5) as line:
        line.x.post("rita", "@AcmeSupport where is the shop?")
        await line.settle()
        line.x.webhooks.paused = True  # no echo tells
        line.x.faults.append(Fault("status_after", method="POST", path="/2/tweets", times=1, status=503))
        await line.answer(1, "Here, Rita.", files=[("shop.jpg", photo("green"), "image/jpeg")])
        await line.gateway.until(
            lambda: line.gateway.value("SELECT count(*) FROM reply WHERE state = 'sent'"), "found", 30
        )
        assert len(line.x.published("AcmeSupport")) == 1
        line.x.webhooks.paused = False


@pytest.mark.parametrize(
    ("name", "body", "media_type"),
    [("plan.pdf", b"%PDF-1.7 author: Ann", "application/pdf"), ("broken.jpg", photo()[:60], "image/jpeg")],
)
async def test_a_file_that_cannot_be_cleaned_goes_back_to_the_agent(
    line: LineLike, name: str, body: bytes, media_type: str
) -> None:
    line.x.post("rita", "@AcmeSupport where is the shop?")
    await line.settle()
    await line.answer(1, "As attached.", files=[(name, body, media_type)])
    assert line.published() == []
    assert "gw_failed" in line.ticket(1).tags
    assert name in line.ticket(1).comments[-1].body


async def test_the_copy_is_there_to_be_read(line: LineLike) -> None:
    line.x.post("rita", "@AcmeSupport look", media=[line.x.picture(photo())])
    await line.settle()
    sha256 = hashlib.sha256(photo()).hexdigest()
    assert await line.gateway.runtime.files.read(sha256) == photo()
    # the same picture again costs no second copy, and belongs to a message of its own
    line.x.post("bob", "@AcmeSupport look", media=[line.x.picture(photo())])
    await line.settle()
    assert await line.gateway.value("SELECT count(DISTINCT sha256) FROM attachment") == 1
    assert await line.gateway.value("SELECT count(*) FROM attachment") == 2


def test_patience() -> None:
    from gateway.pipeline.attach import patience

    assert patience([], 20) == timedelta()
    assert patience([{"url": None, "external_id": None}], 20) == timedelta()
    assert patience([{"url": "https://files.example/a.png"}], 20) == timedelta(seconds=20)
