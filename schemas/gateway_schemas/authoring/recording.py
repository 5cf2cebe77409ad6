"""Makes fixtures of deliveries as they came in: redacted, signed anew, with their goldens.

    fixtures = Recording(plugin_class, folder, config=…, app=…)
    fixtures.add(delivery)
    fixtures.write()

The gateway hands the stored deliveries over (`gateway plugin record`); anybody else who has some can do the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from pydantic import BaseModel, SecretStr, ValidationError

from gateway_schemas.authoring.redact import Redactor, Unredactable, words_of
from gateway_schemas.authoring.resign import Scheme, learn, resigned
from gateway_schemas.errors import GatewayError
from gateway_schemas.plugin import Plugin
from gateway_schemas.webhook import RawDelivery

PREFIX = "recorded"
_HEADERS = {b"content-type", b"user-agent", b"accept"}
"""Headers that say something without naming anybody; others are redacted like the body."""
_NAMED = ("event", "type", "event_type", "eventType", "topic", "action", "object")
_LEFT_OUT = re.compile(
    rb"^(?:host|content-length|connection|accept-encoding|transfer-encoding|forwarded|via|x-real-ip|"
    rb"x-forwarded-.*|cf-.*|x-request-id|traceparent|tracestate)$",
    re.IGNORECASE,
)


@dataclass
class Recorded:
    """What became of one delivery."""

    name: str = ""
    dropped: tuple[str, ...] = ()
    """Headers that proved who called and could not be made anew."""
    refused: str = ""
    """Why nothing was written."""
    verified: str = ""
    """What `verify` or `normalise` says of the fixture, where it is not content: there is no golden then."""

    def __str__(self) -> str:
        if self.refused:
            return f"not written: {self.refused}"
        lines = [self.name]
        if self.dropped:
            lines.append(f"  without {', '.join(self.dropped)}: nothing here knows how it was made")
        if self.verified:
            lines.append(f"  no golden: {self.verified}")
        return "\n".join(lines)


@dataclass
class Recording:
    """One session of recording from one connection."""

    plugin: type[Plugin[Any]]
    folder: Path
    """The fixtures folder."""
    config: BaseModel | None = None
    app: BaseModel | None = None
    redactor: Redactor | None = None
    _secrets: dict[str, str] = field(default_factory=dict)
    _setup: dict[str, Any] = field(default_factory=dict)
    _written: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        path = self.folder / "setup.json"
        self._setup = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        for part, model in (("config", self.config), ("app", self.app)):
            if model is not None:
                self._secrets |= dict(_secrets(model, part))
        if self.redactor is None:
            self.redactor = redactor_for(self.plugin, self.config, self.app)
        self._new = {path: self._replacement(path, secret) for path, secret in self._secrets.items()}

    def add(self, delivery: RawDelivery, *, method: str = "POST") -> Recorded:
        """Redact one delivery and write it as a fixture, with what `setup.json` must say of it."""
        assert self.redactor is not None
        content_type = delivery.header("content-type") or ""
        try:
            body = self.redactor.body(self._without_secrets(delivery.body), content_type)
            query = self.redactor.form(self._without_secrets(delivery.query)) if delivery.query else b""
        except Unredactable as error:
            return Recorded(refused=str(error))
        result = Recorded(self._name(delivery))
        inside = self.folder / "in"
        inside.mkdir(parents=True, exist_ok=True)
        if delivery.origin == "webhook":
            schemes = learn(delivery.headers, delivery.body, self._secrets)
            headers, dropped = self._headers(delivery, schemes, body)
            result.dropped = tuple(dropped)
            target = b"/hooks/fixture" + (b"?" + query if query else b"")
            lines = [method.encode() + b" " + target + b" HTTP/1.1"]
            lines += [name + b": " + value for name, value in headers]
            lines += [b"content-length: " + str(len(body)).encode()]
            (inside / f"{result.name}.http").write_bytes(b"\n".join(lines) + b"\n\n" + body)
        else:
            (inside / f"{result.name}.json").write_bytes(body)
        self._remember(result.name, delivery)
        self._written.append(result.name)
        result.verified = self._golden(result.name)
        return result

    def _golden(self, name: str) -> str:
        """Write the golden, unless `verify` or `normalise` says no: then what it says."""
        from gateway_schemas.testing.fixtures import golden_text, golden_value
        from gateway_schemas.testing.recordings import Recordings

        recordings = Recordings(self.folder, self.plugin)
        try:
            answer = recordings.answered(name)
            says: Any = [answer] if answer is not None and not answer.store else recordings.normalised(name)
        except GatewayError as error:
            return f"{type(error).__name__}: {error.reason}"
        except ValidationError as error:
            places = ", ".join(".".join(map(str, one["loc"])) for one in error.errors(include_input=False))
            return f"{error.title} in setup.json is not valid: {places}"
        except Exception as error:  # live traffic that a plugin breaks at is the fixture that one wants most
            return f"a bug of the plugin: {type(error).__name__}: {error}"
        recordings.golden(name).write_text(golden_text(golden_value(says)), "utf-8")
        return ""

    def _headers(
        self, delivery: RawDelivery, schemes: list[Scheme], body: bytes
    ) -> tuple[list[tuple[bytes, bytes]], list[str]]:
        assert self.redactor is not None
        signed = {scheme.header for scheme in schemes}
        read = {part[1:-1] for scheme in schemes for part in scheme.template if part.startswith(b"{")}
        changed = []
        for name, value in delivery.headers:
            if _LEFT_OUT.match(name):
                continue
            if name.lower() not in _HEADERS | signed | read:
                value = self.redactor.value(name.decode("latin-1"), value.decode("latin-1")).encode(
                    "latin-1", "replace"
                )
            changed.append((name, value))
        return resigned(changed, body, schemes, self._new)

    def _without_secrets(self, content: bytes) -> bytes:
        for path, secret in sorted(self._secrets.items(), key=lambda one: -len(one[1])):
            if len(secret) > 3:
                content = content.replace(secret.encode(), self._new[path].encode())
        return content

    def _replacement(self, path: str, secret: str) -> str:
        """What the fixtures' `setup.json` has in its place, else a secret of the same form that it gets."""
        assert self.redactor is not None
        part, *keys = path.split(".")
        value: Any = self._setup.get(part)
        for key in keys:
            if isinstance(value, dict):
                value = value.get(key)
            elif isinstance(value, list) and int(key) < len(value):
                value = value[int(key)]
            else:
                value = None
        if isinstance(value, str):
            return value
        if secret.startswith("whsec_"):
            return "whsec_" + self.redactor.text(secret.removeprefix("whsec_"))
        return self.redactor.text(secret)

    def _remember(self, name: str, delivery: RawDelivery) -> None:
        """Let `setup.json` say how this fixture was received, and with which configuration."""
        assert self.redactor is not None
        entry: dict[str, Any] = {"received_at": delivery.received_at.isoformat()}
        if delivery.origin != "webhook":
            entry |= {"origin": delivery.origin, "stream": delivery.stream, "note": self.redactor.any(delivery.note)}
        for part, model in (("config", self.config), ("app", self.app)):
            if model is None:
                if self._setup.get(part) is not None:
                    entry[part] = None  # an App's shared door has no connection's configuration
                continue
            values = self._values(model, part)
            if part not in self._setup:
                self._setup[part] = values
            elif changed := {key: value for key, value in values.items() if self._setup[part].get(key) != value}:
                entry[part] = changed
        self._setup.setdefault("deliveries", {})[name] = entry
        (self.folder / "setup.json").write_text(json.dumps(self._setup, indent=2, ensure_ascii=False) + "\n", "utf-8")

    def _values(self, model: BaseModel, part: str) -> dict[str, Any]:
        """The configuration without what is as it is by default, redacted as the deliveries are."""
        assert self.redactor is not None
        given: dict[str, Any] = model.model_dump(mode="json", exclude_defaults=True)
        shown: dict[str, Any] = self.redactor.any(given)
        for path, new in self._new.items():
            first, *keys = path.split(".")
            if first == part:
                _put(shown, keys, new)
        return shown

    def _name(self, delivery: RawDelivery) -> str:
        """`<event>__recorded_<number>`."""
        if delivery.origin == "webhook":
            event = _event(delivery)
        else:
            event = "_".join(filter(None, (delivery.origin, delivery.stream)))
        stem = re.sub(r"[^a-z0-9]+", "_", event.lower()).strip("_") or "delivery"
        number = 1
        while list((self.folder / "in").glob(f"{stem}__{PREFIX}_{number}.*")):
            number += 1
        return f"{stem}__{PREFIX}_{number}"


def redactor_for(
    plugin: type[Plugin[Any]],
    config: BaseModel | None,
    app: BaseModel | None,
    keep: tuple[str, ...] = (),
) -> Redactor:
    """A redactor that leaves the words of the plugin's code, and the provider's hosts."""
    hosts = (*plugin.hosts_of(config, app), *plugin.media_hosts_of(config, app)) if config is not None else ()
    named = [httpx2.URL(host.replace("*.", "")).host for host in hosts]
    known = {".".join(host.split(".")[-2:]) for host in named if not host.replace(".", "").isdigit()}
    return Redactor(keep=words_of(_code_of(plugin)), keep_keys=keep, hosts=known)


def _code_of(plugin: type[Plugin[Any]]) -> list[Path]:
    import importlib

    package = importlib.import_module(plugin.__module__.partition(".")[0])
    modules = [path for folder in package.__path__ for path in sorted(Path(folder).rglob("*.py"))]
    return [path for path in modules if not path.stem.startswith("twin")]  # twins name people


def _event(delivery: RawDelivery) -> str:
    try:
        document = json.loads(delivery.body)
    except ValueError:
        document = None
    for header, value in delivery.headers:
        if header.lower().endswith((b"-event", b"-topic")):
            return value.decode("latin-1")
    if isinstance(document, dict):
        found = next((document[name] for name in _NAMED if isinstance(document.get(name), str)), None)
        return found or "webhook"
    return "webhook"


def _secrets(value: Any, path: str) -> list[tuple[str, str]]:
    """Every secret of a configuration, with the place where it stands."""
    if isinstance(value, SecretStr):
        return [(path, value.get_secret_value())] if value.get_secret_value() else []
    if isinstance(value, BaseModel):
        entries: list[tuple[Any, Any]] = [(name, getattr(value, name)) for name in type(value).model_fields]
    elif isinstance(value, Mapping):
        entries = list(value.items())
    elif isinstance(value, list | tuple):
        entries = list(enumerate(value))
    else:
        return []
    return [found for key, one in entries for found in _secrets(one, f"{path}.{key}")]


def _put(document: Any, keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        document = document[int(key)] if isinstance(document, list) else document[key]
    if isinstance(document, list):
        document[int(keys[-1])] = value
    else:
        document[keys[-1]] = value
