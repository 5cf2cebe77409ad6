"""A plugin's fixtures folder: recorded deliveries, what they were recorded with, and their goldens.

    fixtures/setup.json                        the configuration they were recorded with, and what bytes cannot tell
    fixtures/SOURCES.md                        the documentation that each is written from
    fixtures/in/<event>__<case>.http           a webhook's request: request line, headers, blank line, the exact body
    fixtures/in/<event>__<case>.json           the body of a page that `poll` or `fetch` gave
    fixtures/in/<event>__<case>.golden.json    what `normalise` makes of it (of a challenge: what `verify` answers)

`setup.json` has `config`, `app` and `keys` (each may be missing; `keys` names files of key sets), `received_at` in ISO
8601, and `deliveries`: by the beginning of a fixture's name what is special to it, of which the longest match counts.

    {"config": {"token": "t"}, "received_at": "2026-11-23T12:00:00Z",
     "deliveries": {"poll_mentions": {"origin": "poll", "stream": "mentions", "note": {"kind": "posts"}},
                    "status__moved": {"config": {"account": "2"}}}}

Without an `origin` a page is of the origin that its name begins with (`poll`, `fetch`, `listen`), else fetched. The
`config` and `app` of an entry change single values of the general ones; `"config": null` makes it the App's instance.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from gateway_schemas.errors import Malformed
from gateway_schemas.files import MemoryFiles
from gateway_schemas.interaction import Normalised
from gateway_schemas.plugin import Plugin, Setup
from gateway_schemas.testing.clock import StillTime
from gateway_schemas.testing.fixtures import load_request
from gateway_schemas.webhook import Origin, RawDelivery, WebhookRequest

GOLDEN = ".golden.json"
PAGES = (".json", ".xml", ".eml", ".bin")
"""What a page's file may end in; the bytes are taken as they are."""


class Recordings:
    """The recorded deliveries of one plugin class."""

    def __init__(self, folder: str | os.PathLike[str], plugin: type[Plugin[Any]]) -> None:
        self.folder = Path(folder)
        self.plugin_class = plugin

    @cached_property
    def setup(self) -> dict[str, Any]:
        """What `setup.json` says; empty without one."""
        path = self.folder / "setup.json"
        return cast("dict[str, Any]", json.loads(path.read_text("utf-8"))) if path.exists() else {}

    @cached_property
    def files(self) -> dict[str, Path]:
        """The recorded files by name, without their ending."""
        found = (
            path
            for path in sorted((self.folder / "in").glob("*"))
            if path.suffix in (".http", *PAGES) and not path.name.endswith(GOLDEN)
        )
        return {path.stem: path for path in found}

    @property
    def webhooks(self) -> list[str]:
        """The names of recorded requests."""
        return [name for name, path in self.files.items() if path.suffix == ".http"]

    def golden(self, name: str) -> Path:
        """Where the golden of a fixture is, or shall be."""
        return self.folder / "in" / f"{name}{GOLDEN}"

    @property
    def orphans(self) -> list[str]:
        """Names of goldens without a fixture."""
        stems = {path.name.removesuffix(GOLDEN) for path in (self.folder / "in").glob(f"*{GOLDEN}")}
        return sorted(stems - set(self.files))

    def special(self, name: str) -> Mapping[str, Any]:
        """What `setup.json` says of this fixture alone."""
        entries: Mapping[str, Mapping[str, Any]] = self.setup.get("deliveries", {})
        fitting = [prefix for prefix in entries if name.startswith(prefix)]
        return entries[max(fitting, key=len)] if fitting else {}

    def received_at(self, name: str) -> datetime:
        """When it was received; the start of 2026 unless the setup says otherwise."""
        given = self.special(name).get("received_at") or self.setup.get("received_at")
        return datetime.fromisoformat(given) if given else datetime(2026, 1, 1, tzinfo=UTC)

    def values(self, name: str, part: str) -> dict[str, Any] | None:
        """The `config` or `app` that a fixture was recorded with; None for none."""
        general, special = self.setup.get(part), self.special(name)
        if part in special:
            return None if special[part] is None else {**(general or {}), **special[part]}
        return general

    @cached_property
    def keys(self) -> dict[str, Any]:
        """The key sets by name."""
        named: Mapping[str, str] = self.setup.get("keys", {})
        return {name: json.loads((self.folder / file).read_text("utf-8")) for name, file in named.items()}

    def plugin(self, name: str = "", *, config: Mapping[str, Any] | None = None) -> Any:
        """An instance as the process has it where pure methods run: no network, no state. `config` changes values."""
        given, app = self.values(name, "config"), self.values(name, "app")
        if config and given is not None:
            given = {**given, **config}
        return self.made(given, app, self.received_at(name))

    def made(self, config: Mapping[str, Any] | None, app: Mapping[str, Any] | None, at: datetime) -> Any:
        """An instance with exactly these values."""
        plugin = self.plugin_class
        return plugin(
            Setup(
                time=StillTime(at),
                connection_id="kit" if config is not None else None,
                config=plugin.Config.model_validate(config) if config is not None else None,
                app=plugin.AppConfig.model_validate(app) if app is not None else None,
                files=MemoryFiles(),
                keys=dict(self.keys),
            )
        )

    def request(self, name: str) -> WebhookRequest:
        """A recorded webhook request."""
        return load_request(self.files[name], self.received_at(name))

    def delivery(self, name: str) -> RawDelivery:
        """A recorded delivery as the host stores it."""
        path, special = self.files[name], self.special(name)
        if path.suffix == ".http":
            request = self.request(name)
            return RawDelivery(
                "kit", "webhook", request.body, request.received_at, headers=request.headers, query=request.query
            )
        first = name.partition("_")[0]
        origin = special.get("origin") or (first if first in ("poll", "fetch", "listen") else "fetch")
        note = json.loads(json.dumps(special.get("note", {})))
        return RawDelivery(
            "kit",
            cast("Origin", origin),
            path.read_bytes(),
            self.received_at(name),
            stream=special.get("stream", ""),
            note=note,
        )

    def answered(self, name: str) -> Any:
        """The WebhookResponse that `verify` gives to a recorded request; None where it carries only news."""
        if self.files[name].suffix != ".http":
            return None
        return self.plugin(name).verify(self.request(name))

    def says(self, name: str) -> list[Any]:
        """What its golden holds: what the plugin makes of it, the answer to a challenge, or why it is Malformed."""
        answer = self.answered(name)
        if answer is not None and not answer.store:
            return [answer]
        try:
            return list(self.normalised(name))
        except Malformed as error:
            return [error]

    def normalised(self, name: str) -> Sequence[Normalised]:
        """What the plugin makes of a recorded delivery."""
        return cast("Sequence[Normalised]", self.plugin(name).normalise(self.delivery(name)))
