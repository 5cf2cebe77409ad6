"""`gateway plugin record`: stored deliveries become fixtures with nobody in them."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gateway.recording import NothingToRecord, Wish, record_with
from support.rest import Api, signed


async def test_stored_deliveries_become_fixtures(api: Api, name: str, tmp_path: Path) -> None:
    door = await api.shout(name)
    for number in range(3):
        body = json.dumps({"type": "shouted", "id": 884422 + number, "text": "Rita Example is angry"}).encode()
        headers = {"x-signature": signed(f"secret-of-{name}", body), "content-type": "application/json"}
        assert (await api.http.post(f"/hooks/{door['id']}?who=hannelore", content=body, headers=headers)).is_success
    recorded = await record_with(api.runtime, Wish(UUID(door["id"]), tmp_path, limit=2))
    assert [one.name for one in recorded] == ["shouted__recorded_1", "shouted__recorded_2"]
    assert [one.dropped for one in recorded] == [(), ()], "the scheme was found out"
    written = (tmp_path / "in" / "shouted__recorded_1.http").read_text("utf-8")
    everything = "".join(path.read_text("utf-8") for path in sorted((tmp_path / "in").iterdir()))
    assert "angry" not in everything
    assert "Rita" not in everything
    assert "hannelore" not in everything
    assert f"secret-of-{name}" not in everything
    head, _, body_text = written.partition("\n\n")
    told = json.loads(body_text)
    assert (told["type"], len(str(told["id"]))) == ("shouted", 6)
    setup = (tmp_path / "setup.json").read_text("utf-8")
    assert f"secret-of-{name}" not in setup
    secret = json.loads(setup)["config"]["secret"]
    assert f"x-signature: {signed(secret, body_text.encode())}" in head


async def test_what_there_is_nothing_of_is_said(api: Api, name: str, tmp_path: Path) -> None:
    door = await api.shout(name)
    with pytest.raises(NothingToRecord, match="nothing has come to"):
        await record_with(api.runtime, Wish(UUID(door["id"]), tmp_path))
    with pytest.raises(NothingToRecord, match="there is no connection"):
        await record_with(api.runtime, Wish(uuid4(), tmp_path))
