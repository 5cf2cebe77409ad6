"""What an admin enters: the project at Google, and each account whose reviews are read."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.netloc or parts.path.strip("/"):
        raise ValueError("expected an address without a path, such as http://127.0.0.1:9000")
    return f"{parts.scheme}://{parts.netloc}"


def _bare(prefix: str) -> AfterValidator:
    return AfterValidator(lambda value: value.removeprefix(prefix))


BaseUrl = Annotated[str, AfterValidator(_base_url)]
AccountId = Annotated[str, StringConstraints(pattern=r"^(accounts/)?[0-9]{1,30}$"), _bare("accounts/")]
LocationId = Annotated[str, StringConstraints(pattern=r"^(locations/)?[0-9]{1,30}$"), _bare("locations/")]


class GoogleApp(BaseModel):
    """One project at Google Cloud: it owns the OAuth client, the quotas and the Pub/Sub topic."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    client_id: str = Field(min_length=1, description="The OAuth client's id, …apps.googleusercontent.com.")
    client_secret: SecretStr = Field(description="The OAuth client's secret.")
    pubsub_topic: Annotated[str, StringConstraints(pattern=r"^projects/[^/]+/topics/[^/]+$")] | None = Field(
        default=None,
        description="The topic that Google tells of reviews on, projects/…/topics/…; none: they come by polling.",
    )
    push_audience: str | None = Field(
        default=None, min_length=1, description="The audience that the push subscription puts into its tokens."
    )
    push_service_account: str | None = Field(
        default=None, min_length=3, description="The e-mail address of the service account that signs push requests."
    )
    base_url: BaseUrl | None = Field(default=None, description="Where a twin of all Google APIs is; none: at Google.")


class GoogleConfig(BaseModel):
    """One account (also a location group) at Google Business Profile, with its locations."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    account_id: AccountId = Field(description="The account's numeric id; `discover` finds it.")
    locations: list[LocationId] = Field(
        default_factory=list, description="Ids of the locations to read; none: every location of the account."
    )
    refresh_token: SecretStr | None = Field(
        default=None,
        description="From authorising the App elsewhere with the scope https://www.googleapis.com/auth/business.manage;"
        " connecting the account brings what is needed without it.",
    )
    access_token: SecretStr | None = Field(
        default=None, description="Comes from connecting the account, and is renewed by the gateway."
    )
    sweep_hours: int = Field(
        default=24, ge=1, le=24 * 7, description="How often every review is read again, for what Google tells nobody."
    )

    @model_validator(mode="after")
    def _authorised(self) -> GoogleConfig:
        if self.refresh_token is None and self.access_token is None:
            raise ValueError("give refresh_token, or connect the account by OAuth")
        return self

    @property
    def account(self) -> str:
        """The account's resource name."""
        return f"accounts/{self.account_id}"
