"""What an admin enters: one feed, and how to take what is in it."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints


def _feed_url(value: str) -> str:
    parts = urlsplit(value.strip())
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("expected an address such as https://blog.example.com/feed.xml")
    if parts.username or parts.password:
        raise ValueError("names and passwords belong into `authorization`, not into the address")
    return urlunsplit((parts.scheme, parts.netloc.lower(), parts.path or "/", parts.query, ""))


FeedUrl = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_feed_url)]
Host = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$", to_lower=True)]


class FeedConfig(BaseModel):
    """One feed."""

    model_config = ConfigDict(extra="forbid")

    url: FeedUrl = Field(description="The feed's address. `discover` finds the feeds of a page.")
    kind: Literal["auto", "post", "comment"] = Field(
        default="auto",
        description="What its entries are; auto: those that answer another one, or stand below a page, are comments.",
    )
    own_posts: bool = Field(default=False, description="Whether its posts are the brand's own (not its comments).")
    own_authors: list[str] = Field(
        default_factory=list, description="Names or addresses under which the brand itself writes there."
    )
    verified_authors: bool = Field(
        default=False,
        description="Whether the site has accounts (a forum with a log-in), so that one author name is one person.",
    )
    authorization: SecretStr | None = Field(
        default=None, description="The Authorization header of a feed that is not public, such as “Bearer …”."
    )
    probe_minutes: int = Field(
        default=8,
        ge=0,
        description="How often it is seen whether the feed is there and polling brings what it has, beside the polls; "
        "0: polls alone tell. Each look reads the whole feed.",
    )
    redirect_hosts: list[Host] = Field(
        default_factory=list, description="Other hosts that the feed may redirect to, over https."
    )

    @property
    def host(self) -> str:
        """The feed's host, with its port where it names one."""
        return urlsplit(self.url).netloc

    @property
    def origins(self) -> tuple[str, ...]:
        """Where requests may go: the feed's own site, securely too and with or without www, and what was allowed."""
        parts = urlsplit(self.url)
        found = [f"{parts.scheme}://{parts.netloc}"]
        if parts.port is None:
            other = parts.netloc.removeprefix("www.") if parts.netloc.startswith("www.") else f"www.{parts.netloc}"
            found += [f"https://{parts.netloc}", f"{parts.scheme}://{other}", f"https://{other}"]
        found += [f"https://{host}" for host in self.redirect_hosts]
        return tuple(dict.fromkeys(found))
