"""Checks of who is believed at the door, and of what is kept secret."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, SecretStr

from gateway_schemas.errors import GatewayError, Unverified
from gateway_schemas.testing.failure import found, needs, unless
from gateway_schemas.testing.plugin_contract import PluginContract
from gateway_schemas.testing.stage import secrets_of
from gateway_schemas.webhook import WebhookRequest

_SECRET_WORDS = ("secret", "token", "password", "passphrase", "api_key", "private_key", "credential")
_NOT_SECRET = ("id", "url", "header", "hours", "minutes", "seconds", "days", "name", "limit", "lifetime", "kind")
_UNSIGNED = (
    b"host", b"content-type", b"content-length", b"accept", b"accept-encoding", b"user-agent", b"connection", b"from"
)  # fmt: skip


class DoorChecks(PluginContract):
    """On every recorded request."""

    def test_genuine_refused(self, webhook: str) -> None:
        """What the provider signed is taken, whatever the case of the headers' names."""
        request = self.recordings.request(webhook)
        for change in (bytes, bytes.lower, bytes.upper, bytes.title):
            headers = tuple((change(name), value) for name, value in request.headers)
            try:
                self.recordings.plugin(webhook).verify(dataclasses.replace(request, headers=headers))
            except Unverified as error:
                how = "" if change is bytes else f" with headers in {change.__name__} case"
                found("genuine_refused", f"{webhook}{how} is refused: {error} ({error.code})")

    def test_genuine_refused_while_rotating(self, webhook: str) -> None:
        """With another secret in front of the old one, what was signed with the old one is still taken."""
        request = self._news(webhook)
        config, app = (self.recordings.values(webhook, part) for part in ("config", "app"))
        plugin = self.plugin
        for model, values in ((plugin.Config, config), (plugin.AppConfig, app)):
            for changes in _rotations(model, values or {}, self.changed_secrets):
                new = [{**values, **changes} if part is values and values else part for part in (config, app)]
                try:
                    self.recordings.made(new[0], new[1], request.received_at).verify(request)
                except Unverified as error:
                    found(
                        "genuine_refused", f"{webhook} with the secret before the newest one ({set(changes)}): {error}"
                    )

    def test_forged_accepted(self, webhook: str) -> None:
        """Signatures that are none: of one sign, of zeros, of the right form and wrong."""
        request = self._news(webhook)
        for name, value in _signing(request):
            for forged in (
                b"x",
                b"0" * len(value),
                _other(value),
                value[:-5],
                value + b"0000",
                b"\xff\xfe",
                b"=",
                b",",
            ):
                if forged.strip() != value:
                    what = f"{webhook} with {name.decode()}: {forged[:30]!r}"
                    self._refused(webhook, _with_header(request, name, forged), "forged_accepted", what, lone=(name,))

    def test_unsigned_accepted(self, webhook: str) -> None:
        """Nothing signed: no header of the provider's, or empty ones."""
        request = self._news(webhook)
        bare = [(name, value) for name, value in request.headers if name.lower() in _UNSIGNED]
        unsigned = dataclasses.replace(request, headers=bare, query=b"")
        self._refused(webhook, unsigned, "unsigned_accepted", f"{webhook} without any signature")
        empty = [(name, value if name.lower() in _UNSIGNED else b"") for name, value in request.headers]
        unsigned = dataclasses.replace(request, headers=empty, query=b"")
        self._refused(webhook, unsigned, "unsigned_accepted", f"{webhook} with empty headers")

    def test_foreign_secret_accepted(self, webhook: str) -> None:
        """The same request where all secrets are others."""
        request = self._news(webhook)
        config, app = (self.recordings.values(webhook, part) for part in ("config", "app"))
        plugin = self.plugin
        changed = [
            _changed(model, values, self.changed_secrets) if values is not None else None
            for model, values in ((plugin.Config, config), (plugin.AppConfig, app))
        ]
        other = self.recordings.made(changed[0], changed[1], request.received_at)
        if self.recordings.keys:
            other.setup.keys.clear()
        elif changed == [config, app]:
            needs(False, "a secret that webhooks are signed with")
        try:
            other.verify(request)
        except Unverified:
            return
        found("foreign_secret_accepted", f"{webhook} is taken although every secret is another one")

    def test_altered_body_accepted(self, webhook: str) -> None:
        """One byte of the body is another one, one more, one less; or it was parsed and written anew."""
        needs(self.signs_body, "a signature over the body (`signs_body`)")
        request = self._news(webhook)
        body = request.body
        if not body:
            return
        middle = len(body) // 2
        altered = {
            "first byte": bytes([body[0] ^ 1]) + body[1:],
            "middle byte": body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :],
            "last byte": body[:-1] + bytes([body[-1] ^ 1]),
            "one byte more": body + b" ",
            "one byte less": body[:-1],
            "a line break at the end": body + b"\n",
            "nothing": b"",
        }
        try:
            document = json.loads(body)
            altered["parsed and written anew"] = json.dumps(document, indent=3).encode()
            altered["parsed and written without spaces"] = json.dumps(document, separators=(",", ":")).encode()
        except ValueError:
            pass
        for what, changed in altered.items():
            if changed != body:
                other = dataclasses.replace(request, body=changed)
                self._refused(webhook, other, "altered_body_accepted", f"{webhook} with another body ({what})")

    def test_stale_accepted(self, webhook: str) -> None:
        """The same request a day later, and a day before it was signed."""
        needs(self.signs_time, "a signed time (`signs_time`)")
        request = self._news(webhook)
        for days in (1, -1, 4000):
            at = request.received_at + timedelta(days=days)
            other = dataclasses.replace(request, received_at=at)
            self._refused(webhook, other, "stale_accepted", f"{webhook} received {days} days after it was signed")

    def test_challenge_unanswered(self) -> None:
        """A recorded challenge gets an answer; its golden says which."""
        challenges = [name for name in self.recordings.webhooks if "challenge" in name]
        needs(challenges, "a fixture `…__challenge.http`")
        for name in challenges:
            answer = self.recordings.answered(name)
            unless(answer is not None, "challenge_unanswered", f"{name} gets no answer")
            unless(answer is not None and answer.body, "challenge_unanswered", f"{name} gets an empty answer")

    def test_foreign_secret_accepted_in_a_challenge(self) -> None:
        """A recorded challenge where all secrets are others is refused, or answered otherwise."""
        needs(self.proves_challenges, "challenges that take a secret (`proves_challenges`)")
        challenges = [name for name in self.recordings.webhooks if "challenge" in name]
        needs(challenges, "a fixture `…__challenge.http`")
        for name in challenges:
            request, answer = self.recordings.request(name), self.recordings.answered(name)
            config, app = (self.recordings.values(name, part) for part in ("config", "app"))
            changed = [
                _changed(model, values, self.changed_secrets) if values is not None else None
                for model, values in ((self.plugin.Config, config), (self.plugin.AppConfig, app))
            ]
            if changed == [config, app]:
                continue
            try:
                other = self.recordings.made(changed[0], changed[1], request.received_at).verify(request)
            except Unverified:
                continue
            same = answer is not None and other is not None and other.body == answer.body
            unless(not same, "foreign_secret_accepted", f"{name} gets the same answer although every secret is another")

    # secrets

    def test_secret_not_typed(self) -> None:
        """Whatever is named like a secret is a SecretStr."""
        for model in _models(self.plugin):
            for name, field in model.model_fields.items():
                words = name.split("_")
                named = any(word in name for word in _SECRET_WORDS) and words[-1] not in _NOT_SECRET
                if named and "Secret" not in str(field.annotation) and field.annotation is not bool:
                    found("secret_not_typed", f"{model.__name__}.{name} is {field.annotation}")

    def test_secret_in_repr(self) -> None:
        """Printed, the plugin and its configuration show no secret."""
        plugin = self.recordings.plugin()
        setup = plugin.setup
        secrets = set().union(*(secrets_of(part) for part in (setup.config, setup.app) if part is not None))
        needs(secrets, "a secret in fixtures/setup.json")
        for subject in (plugin, setup, setup.config, setup.app):
            for text in (repr(subject), str(subject), repr(getattr(subject, "__dict__", ""))):
                for secret in secrets:
                    unless(secret not in text, "secret_in_repr", f"{type(subject).__name__} shows a secret")
        for request in map(self.recordings.request, self.recordings.webhooks):
            for forged in (dataclasses.replace(request, headers=[(n, _other(v)) for n, v in request.headers]),):
                try:
                    plugin.verify(forged)
                except GatewayError as error:
                    for secret in secrets:
                        unless(secret not in repr(error) + str(error), "secret_in_error", "Unverified shows a secret")

    def test_config_undocumented(self) -> None:
        """Every field says what it is."""
        for model in _models(self.plugin):
            if not model.model_fields:
                continue
            unless((model.__doc__ or "").strip(), "config_undocumented", f"{model.__name__} has no docstring")
            for name, field in model.model_fields.items():
                unless(field.description, "config_undocumented", f"{model.__name__}.{name} has no description")

    # how

    def _news(self, webhook: str) -> WebhookRequest:
        """The recorded request, if it carries news that had to be proven."""
        if self.recordings.answered(webhook) is not None:
            needs(False, f"{webhook} carries no news, it is a challenge")
        return self.recordings.request(webhook)

    def _refused(
        self, name: str, request: WebhookRequest, fault: str, what: str, *, lone: tuple[bytes, ...] = ()
    ) -> None:
        try:
            answer = self.recordings.plugin(name).verify(request)
        except Unverified:
            return
        except Exception as error:
            found(fault, f"{what}: {type(error).__name__} instead of Unverified: {error!s:.200}")
        if answer is None or answer.store:
            found(fault, f"{what} is taken")


def _signing(request: WebhookRequest) -> Iterator[tuple[bytes, bytes]]:
    words = (b"signature", b"secret", b"authorization", b"token", b"hmac", b"digest")
    for name, value in request.headers:
        if any(word in name.lower() for word in words):
            yield name, value


def _other(value: bytes) -> bytes:
    """A value of the same form that is another one: a letter or digit before its end becomes another digit.

    Never one of the last four: the last letters of base64 may differ and mean the same bytes. Never a letter in the
    other case: in hexadecimal that is the same.
    """
    for index in range(max(0, len(value) - 5), -1, -1):
        if value[index : index + 1].isalnum():
            swapped = b"1" if value[index : index + 1] != b"1" else b"2"
            return value[:index] + swapped + value[index + 1 :]
    return value + b"x"


def _with_header(request: WebhookRequest, name: bytes, value: bytes) -> WebhookRequest:
    headers = tuple((one, value if one == name else old) for one, old in request.headers)
    return dataclasses.replace(request, headers=headers)


def _changed(model: type[BaseModel], values: dict[str, Any], given: Any) -> dict[str, Any]:
    """The same configuration with other secrets."""
    parsed = model.model_validate(values)

    def other(value: Any, name: str) -> Any:
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            return given.get(name) or _other(_other(text.encode())[::-1])[::-1].decode()
        if isinstance(value, list | tuple):
            return [other(one, name) for one in value]
        return value

    return {
        name: other(getattr(parsed, name), name) if secrets_of(getattr(parsed, name)) else old
        for name, old in values.items()
    }


def _rotations(model: type[BaseModel], values: dict[str, Any], given: Any) -> Iterator[dict[str, Any]]:
    """Changes that put another secret in front of one that is a list, or before `previous_<name>s`."""
    for name, field in model.model_fields.items():
        several = "SecretStr" in str(field.annotation) and any(
            word in str(field.annotation) for word in ("list", "tuple", "List", "Tuple")
        )
        base = name.removeprefix("previous_").removesuffix("s")
        if several and name.startswith("previous_") and base in values:
            yield {base: given.get(base) or "another-secret-of-the-kit", name: [values[base]]}
        elif several and values.get(name):
            yield {name: [given.get(name) or "another-secret-of-the-kit", *values[name]]}


def _models(plugin: Any) -> list[type[BaseModel]]:
    return [plugin.Config, plugin.AppConfig]
