"""Setting up at Google: which accounts there are, and that new reviews are told on our Pub/Sub topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway_google_business import budgets
from gateway_google_business.api import Api
from gateway_google_business.pubsub import PUBLISHER, Topic
from gateway_schemas.errors import Rejected
from gateway_schemas.plugin import AccountRef, InstallReport, Step

REVIEW_TYPES = ("NEW_REVIEW", "UPDATED_REVIEW")
ACCOUNT_PAGE = 20
_MOST_PAGES = 50


class Installer:
    """Notifications of one account."""

    def __init__(self, api: Api, door: str | None) -> None:
        self.api = api
        self.door = door

    async def discover(self) -> list[AccountRef]:
        """The accounts that the token can act for, with how many locations each has. Raises GatewayError."""
        found: list[AccountRef] = []
        for account in await accounts(self.api):
            name = str(account.get("name") or "")
            locations = await self.api.locations_of(name)
            title = str(account.get("accountName") or name)
            kind = str(account.get("type") or "").replace("_", " ").lower()
            found.append(
                AccountRef(
                    external_id=name,
                    name=f"{title} ({kind}, {len(locations)} locations)" if kind else title,
                    config={"account_id": name.removeprefix("accounts/")},
                )
            )
        return found

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Have Google tell of new and changed reviews on the App's topic. Raises GatewayError."""
        topic = self.api.app.pubsub_topic
        if topic is None:
            detail = "the App names no pubsub_topic: reviews are polled every few minutes, and nothing needs setting up"
            return InstallReport(steps=(Step(action="keep", what="notifications", detail=detail),))
        if self.door is None:
            reason = "the gateway has no public address; Pub/Sub can only push to an https address"
            raise Rejected(reason, code="no_door")
        steps = await self._notifications(topic, dry_run)
        steps += await self._topic(topic, self.door)
        return InstallReport(steps=tuple(steps))

    async def _notifications(self, topic: str, dry_run: bool) -> list[Step]:
        setting = await notification_setting(self.api)
        there = str(setting.get("pubsubTopic") or "")
        types = [str(one) for one in setting.get("notificationTypes") or ()]
        missing = [one for one in REVIEW_TYPES if one not in types]
        what = f"notifications of {self.api.account}"
        if there == topic and not missing:
            return [Step(action="keep", what=what, detail=topic)]
        if there and there != topic:
            # an account has one topic: another product may live on it
            detail = f"Google tells {there}, which stops; an account has one topic"
            steps = [Step(action="update", what=what, detail=detail)]
        else:
            steps = [Step(action="update" if there else "create", what=what, detail=f"{', '.join(missing)} on {topic}")]
        if not dry_run:
            await self.api.call(
                "PATCH",
                "mybusinessnotifications",
                f"v1/{self.api.account}/notificationSetting",
                bucket=budgets.NOTIFICATIONS,
                params={"updateMask": "pubsubTopic,notificationTypes"},
                body={
                    "name": f"{self.api.account}/notificationSetting",
                    "pubsubTopic": topic,
                    # whatever else is told already goes on being told
                    "notificationTypes": [*types, *missing],
                },
            )
        return steps

    async def _topic(self, topic: str, door: str) -> list[Step]:
        """What only somebody with rights in the project can do."""
        seen = Topic(self.api, topic)
        steps: list[Step] = []
        if await seen.google_may_publish() is not True:
            detail = f"grant {PUBLISHER} the role Pub/Sub Publisher on {topic}, unless it has it"
            steps.append(Step(action="ask", what="topic", detail=detail))
        if self.door is None:
            raise Rejected(
                "the gateway has no public address; Pub/Sub can only push to an https address", code="no_door"
            )
        if not await seen.pushes_to(self.door):
            app = self.api.app
            detail = (
                f"make a push subscription of {topic} to {door}, authenticated as "
                f"{app.push_service_account or '(enter push_service_account)'} with the audience "
                f"{app.push_audience or '(enter push_audience)'}, unless there is one"
            )
            steps.append(Step(action="ask", what="push subscription", detail=detail))
        return steps


async def accounts(api: Api) -> Sequence[dict[str, Any]]:
    """Every account the token can act for. Raises GatewayError."""
    found: list[dict[str, Any]] = []
    parameters = {"pageSize": str(ACCOUNT_PAGE)}
    for _ in range(_MOST_PAGES):
        page = await api.get("mybusinessaccountmanagement", "v1/accounts", bucket=budgets.ACCOUNTS, params=parameters)
        found += [one for one in page.get("accounts") or () if isinstance(one, dict) and one.get("name")]
        token = page.get("nextPageToken")
        if not token:
            break
        parameters = {**parameters, "pageToken": str(token)}
    return found


async def notification_setting(api: Api) -> dict[str, Any]:
    """Whom Google tells of the account, and of what. Raises GatewayError."""
    path = f"v1/{api.account}/notificationSetting"
    return await api.get("mybusinessnotifications", path, bucket=budgets.NOTIFICATIONS)
