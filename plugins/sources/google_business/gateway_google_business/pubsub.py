"""What can be seen of the Pub/Sub topic with the account's token: mostly nothing, for it is the project's business."""

from __future__ import annotations

from typing import Any

from gateway_google_business import budgets
from gateway_google_business.api import Api
from gateway_google_business.refusals import SERVICE_DISABLED
from gateway_schemas.errors import GatewayError, Gone, Reauthorise, Rejected, Retry

PUBLISHER = "serviceAccount:mybusiness-api-pubsub@system.gserviceaccount.com"
"""Who publishes for the Business Profile APIs."""
_ROLES = {"roles/pubsub.publisher", "roles/pubsub.editor", "roles/pubsub.admin", "roles/editor", "roles/owner"}


class Topic:
    """The App's topic, as far as it may be looked at."""

    def __init__(self, api: Api, name: str) -> None:
        self.api = api
        self.name = name

    async def google_may_publish(self) -> bool | None:
        """Whether Google may publish to the topic; None where that cannot be seen. Raises Gone where there is none."""
        policy = await self._get(f"v1/{self.name}:getIamPolicy")
        if policy is None:
            return None
        bindings = [one for one in policy.get("bindings") or () if isinstance(one, dict)]
        return any(one.get("role") in _ROLES and PUBLISHER in (one.get("members") or ()) for one in bindings)

    async def pushes_to(self, door: str) -> bool:
        """Whether a subscription is seen that pushes to the door, with the App's service account and audience."""
        listed = await self._get(f"v1/{self.name}/subscriptions")
        for name in (listed or {}).get("subscriptions") or ():
            subscription = await self._get(f"v1/{name}")
            push = (subscription or {}).get("pushConfig") or {}
            token = push.get("oidcToken") or {}
            if push.get("pushEndpoint") != door:
                continue
            audience = token.get("audience") or door
            if (token.get("serviceAccountEmail"), audience) == (
                self.api.app.push_service_account,
                self.api.app.push_audience,
            ):
                return True
        return False

    async def _get(self, path: str) -> dict[str, Any] | None:
        try:
            return await self.api.get("pubsub", path, bucket=budgets.PUBSUB)
        except Gone:
            raise
        except (Rejected, Reauthorise):
            return None  # the token is for Business Profile, and need not be for the project
        except Retry as error:
            if error.code != SERVICE_DISABLED:
                raise
            return None


async def topic_problem(topic: Topic) -> str | None:
    """What is wrong with the topic, as far as it can be seen."""
    try:
        may = await topic.google_may_publish()
    except Gone:
        return "topic_missing"
    except GatewayError:
        return None
    return "topic_closed" if may is False else None
