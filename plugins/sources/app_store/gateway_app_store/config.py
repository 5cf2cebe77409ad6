"""What an admin enters: the key of App Store Connect's API, and each app whose reviews are read."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

_UUID = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.netloc or parts.path.strip("/"):
        raise ValueError("expected an address without a path, such as http://127.0.0.1:9000")
    return f"{parts.scheme}://{parts.netloc}"


def _private_key(value: SecretStr) -> SecretStr:
    """Refuses what is no key for ES256, without a word of what it holds."""
    try:
        key = ECKey.import_key(value.get_secret_value())
    except (JoseError, ValueError, TypeError):
        raise ValueError("expected the content of the .p8 file, from -----BEGIN PRIVATE KEY----- on") from None
    if not key.is_private or key.curve_name != "P-256":
        raise ValueError("expected a private key on the curve P-256, as App Store Connect gives")
    return value


BaseUrl = Annotated[str, AfterValidator(_base_url)]
PrivateKey = Annotated[SecretStr, AfterValidator(_private_key)]
Territory = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class AppStoreApp(BaseModel):
    """One key of App Store Connect's API: it counts the requests, for all apps together."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key_id: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{8,20}$")] = Field(description="The key's id.")
    issuer_id: Annotated[str, StringConstraints(pattern=_UUID)] | None = Field(
        default=None, description="The team's issuer id; none for an individual key."
    )
    private_key: PrivateKey = Field(description="The key itself: the content of the .p8 file.")
    requests_an_hour: int = Field(default=3500, ge=1, description="Requests that Apple takes from this key an hour.")
    base_url: BaseUrl | None = Field(default=None, description="Where a twin is; none: at Apple.")


class AppStoreConfig(BaseModel):
    """One app in the App Store."""

    model_config = ConfigDict(extra="forbid")

    app_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,20}$")] = Field(
        description="The app's Apple ID, a number; `discover` finds it."
    )
    territories: list[Territory] = Field(
        default_factory=list, description="Territories to read, such as DEU (ISO 3166 alpha-3); none: all of them."
    )
    sweep_hours: int = Field(
        default=24, ge=1, le=24 * 7, description="How often every review is read again, for what Apple tells nobody."
    )
