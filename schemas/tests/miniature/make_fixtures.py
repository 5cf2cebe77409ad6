"""Writes the miniature source's fixtures: python schemas/tests/miniature/make_fixtures.py"""

from __future__ import annotations

import json
from pathlib import Path

from gateway_schemas.signatures import sign_hmac

FOLDER = Path(__file__).parent / "source_fixtures"
SECRET, AT = "secret-of-the-fixtures", "1795435200"
NOTE = {
    "id": 4711000111,
    "author": 71,
    "name": "Rita",
    "text": "my parcel is late & wet",
    "private": False,
    "to": None,
    "thread": 4711000111,
    "written_at": "2026-11-23T11:59:00+00:00",
    "edited_at": None,
}


def webhook(name: str, document: object) -> None:
    """One signed request."""
    body = json.dumps(document, indent=1).encode()
    signature = sign_hmac(AT.encode() + b"." + body, SECRET)
    head = f"POST /hooks/pins HTTP/1.1\nHost: gateway.example\nX-Pin-Time: {AT}\nX-Pin-Signature: {signature}\n\n"
    (FOLDER / "in" / f"{name}.http").write_bytes(head.encode() + body)


def main() -> None:
    """All of them."""
    (FOLDER / "in").mkdir(parents=True, exist_ok=True)
    webhook("pinned__thin", {"event": "pinned", "shop": 70, "note": {"id": 4711000111}})
    webhook("edited__text", {"event": "edited", "shop": 70, "note": {**NOTE, "edited_at": "2026-11-23T12:00:00+00:00"}})
    webhook("taken_down__by_author", {"event": "taken_down", "shop": 70, "note": {"id": 4711000111}})
    webhook("liked__unknown", {"event": "liked", "shop": 70, "note": {"id": 4711000111}})
    challenge = "GET /hooks/pins?challenge=c4711 HTTP/1.1\nHost: gateway.example\n\n"
    (FOLDER / "in" / "hook__challenge.http").write_text(challenge, "utf-8")
    own = {**NOTE, "id": 4711000333, "author": 70, "to": 4711000111, "text": "On it.", "name": "Shop"}
    letter = {**NOTE, "id": 4711000222, "thread": 4711000222, "private": True, "text": "order 12"}
    page = {"notes": [own, letter, NOTE], "next": None}
    (FOLDER / "in" / "poll_notes__three.json").write_text(json.dumps(page, indent=1), "utf-8")
    setup = {
        "config": {"shop": "70", "token": "token-of-the-fixtures"},
        "app": {"signing_secret": SECRET},
        "received_at": "2026-11-23T12:00:01+00:00",
        "deliveries": {"poll_notes": {"stream": "notes", "note": {"account": "70"}}},
    }
    (FOLDER / "setup.json").write_text(json.dumps(setup, indent=1) + "\n", "utf-8")
    (FOLDER / "SOURCES.md").write_text(
        "# Where the fixtures come from\n\n`make_fixtures.py` beside this folder.\n", "utf-8"
    )


if __name__ == "__main__":
    main()
