"""What an admin enters: the service account that reads and answers, and each app whose reviews are read."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.netloc or parts.path.strip("/"):
        raise ValueError("expected an address without a path, such as http://127.0.0.1:9000")
    return f"{parts.scheme}://{parts.netloc}"


def _key_file(value: SecretStr) -> SecretStr:
    """Refuses what is no key file, without a word of what it holds."""
    try:
        document: Any = json.loads(value.get_secret_value())
    except ValueError:
        raise ValueError("expected the whole JSON file that Google gave for the key") from None
    if not isinstance(document, dict) or document.get("type") != "service_account":
        raise ValueError('expected a service account\'s key file, with "type": "service_account"')
    for name in ("client_email", "private_key"):
        if not isinstance(document.get(name), str) or not document[name]:
            raise ValueError(f"the key file has no {name}")
    try:
        load_key(document["private_key"])
    except (JoseError, ValueError, TypeError):
        raise ValueError("private_key: expected a private RSA key as PEM, with its line breaks as \\n") from None
    return value


@lru_cache(maxsize=16)
def load_key(pem: str) -> RSAKey:
    """The key in a key file. Raises what the library does for one that is none.

    Kept, because it is looked at whenever an instance is made, and proving an RSA key takes a tenth of a second.
    """
    key = RSAKey.import_key(pem)
    if not key.is_private:
        raise ValueError("a public key")
    return key


BaseUrl = Annotated[str, AfterValidator(_base_url)]
KeyFile = Annotated[SecretStr, AfterValidator(_key_file)]
PackageName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+$", max_length=150)
]


class PlayApp(BaseModel):
    """One service account at Google Cloud, invited into the Play Console."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: KeyFile = Field(description="The service account's key: the whole JSON file as it was downloaded.")
    reads_an_hour: int = Field(
        default=200, ge=1, description="Requests for reviews that Google takes an hour, for each app."
    )
    replies_a_day: int = Field(default=2000, ge=1, description="Replies that Google takes a day, for each app.")
    base_url: BaseUrl | None = Field(default=None, description="Where a twin of all Google APIs is; none: at Google.")

    @property
    def account(self) -> dict[str, Any]:
        """The key file's content."""
        document: dict[str, Any] = json.loads(self.key.get_secret_value())
        return document


class PlayConfig(BaseModel):
    """One app on Google Play."""

    model_config = ConfigDict(extra="forbid")

    package_name: PackageName = Field(description="The app's package name, such as com.example.app.")
    app_name: str | None = Field(
        default=None, min_length=1, description="What the app is called, for agents; Google's API does not tell."
    )
    translation_language: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")] | None
    ) = Field(default=None, description="A language that Google is to translate reviews into, such as en; none: none.")
    sweep_hours: int = Field(
        default=6,
        ge=1,
        le=24 * 7,
        description="How often the whole week is read again, for what is gone and for replies made elsewhere.",
    )
