"""Fixtures from live traffic: redacted, believed by the plugin, read as before, and in the form that the kit takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway_schemas.authoring.package import Package
from gateway_schemas.authoring.recording import Recording
from gateway_schemas.authoring.scaffold import scaffold
from gateway_schemas.interaction import Interaction
from gateway_schemas.signatures import sign_hmac
from gateway_schemas.testing.recordings import Recordings
from gateway_schemas.webhook import RawDelivery

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECRET = "the-live-webhook-secret"
CONFIG = {"account": "884422", "token": "the-live-token", "webhook_secrets": [SECRET]}
COMMENT = {
    "id": 99887766554433,
    "account": "884422",
    "author": {"id": "rita-7", "name": "Rita Example"},
    "text": "Rita here, my parcel 4711 is late",
    "in_reply_to": None,
    "root": 99887766554433,
    "created_at": "2026-11-23T11:59:00+00:00",
    "changed_at": "2026-11-23T11:59:00+00:00",
    "url": "https://api.rec.example/comments/99887766554433",
    "deleted": False,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[Any]]:
    before = list(sys.path)
    folder = tmp_path_factory.mktemp("rec")
    scaffold("rec", "source", folder)
    yield Package(folder).registered[0].cls
    sys.path[:] = before


def webhook(body: bytes, **headers: str) -> RawDelivery:
    stamp = str(int(NOW.timestamp()))
    signature = sign_hmac(f"{stamp}.".encode() + body, SECRET, prefix="sha256=")
    given = {
        "Host": "gateway.live.example",
        "Content-Type": "application/json",
        "X-Timestamp": stamp,
        "X-Signature": signature,
        "X-Forwarded-For": "203.0.113.9",
        **headers,
    }
    raw = tuple((name.encode(), value.encode()) for name, value in given.items())
    return RawDelivery("1", "webhook", body, NOW, headers=raw)


def recording(source: type[Any], folder: Path) -> Recording:
    return Recording(source, folder, config=source.Config.model_validate(CONFIG))


def everything(folder: Path) -> str:
    return "".join(path.read_bytes().decode() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_webhook_becomes_a_fixture_that_the_plugin_believes(source: type[Any], tmp_path: Path) -> None:
    body = json.dumps({"event": "comment.created", "comment": COMMENT}).encode()
    made = recording(source, tmp_path).add(webhook(body))
    assert (made.name, made.dropped, made.refused, made.verified) == ("comment_created__recorded_1", (), "", "")
    written = everything(tmp_path).lower()
    for secret in ("rita", "884422", "99887766554433", "4711", "the-live", ".live.", "203.0.113.9", "parcel"):
        assert secret not in written, secret
    recordings = Recordings(tmp_path, source)
    assert recordings.answered(made.name) is None
    (told,) = recordings.normalised(made.name)
    assert isinstance(told, Interaction)
    assert told.direction == "inbound"
    assert told.external_id == told.root
    assert len(told.external_id) == 14
    assert recordings.golden(made.name).is_file()


def test_pages_and_webhooks_of_one_recording_share_ids(source: type[Any], tmp_path: Path) -> None:
    session = recording(source, tmp_path)
    body = json.dumps({"event": "comment.created", "comment": COMMENT}).encode()
    page = json.dumps({"comments": [COMMENT], "cursor": "17", "more": False}, indent=1).encode()
    first = session.add(webhook(body))
    second = session.add(RawDelivery("2", "poll", page, NOW, stream="comments", note={"of": "884422"}))
    third = session.add(webhook(body))
    assert [first.name, second.name, third.name] == [
        "comment_created__recorded_1",
        "poll_comments__recorded_1",
        "comment_created__recorded_2",
    ]
    recordings = Recordings(tmp_path, source)
    assert recordings.normalised(first.name) == recordings.normalised(second.name)
    entry = recordings.setup["deliveries"][second.name]
    assert (entry["origin"], entry["stream"]) == ("poll", "comments")
    assert entry["note"]["of"] == recordings.setup["config"]["account"]


def test_the_secret_is_that_of_the_setup_that_is_there(source: type[Any], tmp_path: Path) -> None:
    """A plugin's fixtures have a configuration already: recorded ones fit in, and change nothing for the others."""
    setup = {"config": {**CONFIG, "account": "brand", "token": "t", "webhook_secrets": ["fixture-secret"]}}
    (tmp_path / "setup.json").write_text(json.dumps(setup), "utf-8")
    body = json.dumps({"event": "comment.created", "comment": COMMENT}).encode()
    made = recording(source, tmp_path).add(webhook(body))
    recordings = Recordings(tmp_path, source)
    assert recordings.setup["config"] == setup["config"]
    assert recordings.values(made.name, "config")["webhook_secrets"] == ["fixture-secret"]  # type: ignore[index]
    assert recordings.values(made.name, "config")["account"] != "brand"  # type: ignore[index]
    assert made.verified == ""


def test_a_signature_that_nothing_explains_is_dropped_and_said(source: type[Any], tmp_path: Path) -> None:
    body = json.dumps({"event": "comment.created", "comment": COMMENT}).encode()
    made = recording(source, tmp_path).add(webhook(body, **{"X-Signature": "sha256=" + "0" * 64}))
    assert made.dropped == ("X-Signature",)
    assert made.verified.startswith("Unverified: ")
    assert "without X-Signature" in str(made)
    assert "no golden" in str(made)


def test_what_cannot_be_redacted_is_not_written(source: type[Any], tmp_path: Path) -> None:
    made = recording(source, tmp_path).add(RawDelivery("1", "poll", b"<feed>Rita</feed>", NOW))
    assert made.refused
    assert list(tmp_path.iterdir()) == []
    assert str(made).startswith("not written: ")


def test_an_apps_door_has_no_connections_configuration(source: type[Any], tmp_path: Path) -> None:
    (tmp_path / "setup.json").write_text(json.dumps({"config": CONFIG}), "utf-8")
    session = Recording(source, tmp_path, app=source.AppConfig())
    made = session.add(RawDelivery("1", "poll", b"{}", NOW, stream="comments"))
    assert made.verified.startswith("a bug of the plugin: RuntimeError: "), "this plugin has no App"
    entry = json.loads((tmp_path / "setup.json").read_text("utf-8"))["deliveries"]["poll_comments__recorded_1"]
    assert entry["config"] is None


def test_a_setup_that_does_not_fit_is_said(source: type[Any], tmp_path: Path) -> None:
    (tmp_path / "setup.json").write_text(json.dumps({"config": {"account_id": "1"}}), "utf-8")
    made = recording(source, tmp_path).add(RawDelivery("1", "poll", b'{"comments": []}', NOW, stream="comments"))
    assert made.verified == "RecConfig in setup.json is not valid: account_id"
