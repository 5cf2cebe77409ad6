"""The twin's accounts, locations, notification settings and Pub/Sub topics, and its token and key endpoints."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway_google_business.twin_http import CLOUD, Call, forbidden, invalid, not_found, page_size, precondition
from gateway_google_business.twin_state import Json, TwinAccount, TwinTopic, TwinUser
from gateway_schemas.testing.twin_oauth import AuthorisationServer, Grant, OAuthRefusal, form_of
from gateway_schemas.time import TimeSource

if TYPE_CHECKING:
    from gateway_google_business.twin import GoogleTwin

PUBLISHER = "serviceAccount:mybusiness-api-pubsub@system.gserviceaccount.com"
TOKEN_SECONDS = 3599
TYPES = {
    "GOOGLE_UPDATE",
    "NEW_REVIEW",
    "UPDATED_REVIEW",
    "NEW_CUSTOMER_MEDIA",
    "NEW_QUESTION",
    "UPDATED_QUESTION",
    "NEW_ANSWER",
    "UPDATED_ANSWER",
    "DUPLICATE_LOCATION",
    "LOSS_OF_VOICE_OF_MERCHANT",
    "VOICE_OF_MERCHANT_UPDATED",
}
_MASK = {"name", "title", "metadata", "storeCode", "languageCode", "websiteUri", "phoneNumbers", "categories"}


class BusinessEndpoints:
    """All that is not a review."""

    def __init__(self, twin: GoogleTwin, time: TimeSource) -> None:
        self.twin = twin
        self.server = AuthorisationServer(
            time, client_id=twin.client_id, client_secret=twin.client_secret, pkce="optional"
        )

    def routes(self) -> list[BaseRoute]:
        """Where they are."""
        route = self.twin.wire.route
        accounts, notifications = "mybusinessaccountmanagement", "mybusinessnotifications"
        topic, setting = "/v1/projects/{project}/topics/{topic}", "/v1/accounts/{account}/notificationSetting"
        return [
            route("GET", accounts, "/v1/accounts", self._accounts),
            route("GET", accounts, "/v1/accounts/{account}", self._get_account),
            route("GET", "mybusinessbusinessinformation", "/v1/accounts/{account}/locations", self._locations),
            route("GET", notifications, setting, self._setting),
            route("PATCH", notifications, setting, self._change_setting),
            route("GET", "pubsub", topic + ":getIamPolicy", self._policy, CLOUD),
            route("GET", "pubsub", topic + "/subscriptions", self._subscriptions, CLOUD),
            route("GET", "pubsub", "/v1/projects/{project}/subscriptions/{subscription}", self._subscription, CLOUD),
            Route("/accounts.google.com/o/oauth2/v2/auth", self.server.authorise, methods=["GET"]),
            Route("/oauth2.googleapis.com/token", self._token, methods=["POST"]),
            Route("/oauth2.googleapis.com/revoke", self._revoke, methods=["POST"]),
            Route("/www.googleapis.com/oauth2/v3/certs", self._certs, methods=["GET"]),
            Route("/lh3.googleusercontent.com/p/{name}", self._picture, methods=["GET"]),
        ]

    # accounts and locations

    def _account(self, call: Call) -> TwinAccount:
        account = self.twin.state.accounts.get(call.path("account"))
        if account is None or account.user != call.user:
            raise forbidden()
        return account

    async def _accounts(self, call: Call) -> Json:
        query = call.query(("pageSize", "pageToken", "filter", "parentAccount"))
        mine = [_shown_account(one) for one in self.twin.state.accounts.values() if one.user == call.user]
        page, token = _page(mine, page_size(query.get("pageSize"), 20, 20), query.get("pageToken", ""))
        return ({"accounts": page} if page else {}) | ({"nextPageToken": token} if token else {})

    async def _get_account(self, call: Call) -> Json:
        call.query(())
        return _shown_account(self._account(call))

    async def _locations(self, call: Call) -> Json:
        query = call.query(("pageSize", "pageToken", "readMask", "filter", "orderBy"))
        account = self._account(call)
        mask = set(filter(None, query.get("readMask", "").split(",")))
        if not mask or not mask <= _MASK:
            raise invalid("read_mask", "Invalid field mask provided")
        size = page_size(query.get("pageSize"), 10, 100)
        found = [
            {
                "name": f"locations/{place.id}",
                "title": place.title,
                "metadata": {
                    "hasVoiceOfMerchant": place.verified,
                    "mapsUri": f"https://maps.google.com/maps?cid={place.id}",
                    "placeId": f"ChIJ{place.id}",
                },
            }
            for place in self.twin.state.locations_of(account.id)
        ]
        shown = [{key: value for key, value in place.items() if key in mask} for place in found]
        page, token = _page(shown, size, query.get("pageToken", ""))
        return ({"locations": page} if page else {}) | ({"nextPageToken": token} if token else {})

    # notifications

    async def _setting(self, call: Call) -> Json:
        call.query(())
        return _shown_setting(self._account(call))

    async def _change_setting(self, call: Call) -> Json:
        query = call.query(("updateMask",))
        account = self._account(call)
        body = await call.body({"name": str, "pubsubTopic": str, "notificationTypes": list})
        mask = set(filter(None, query.get("updateMask", "").split(",")))
        if not mask or not mask <= {"pubsubTopic", "notificationTypes", "pubsub_topic", "notification_types"}:
            raise invalid("update_mask", "The update mask must name pubsub_topic or notification_types")
        topic = str(body.get("pubsubTopic", ""))
        types = body.get("notificationTypes", [])
        unknown = [one for one in types if one not in TYPES]
        if unknown:
            raise invalid("notification_setting.notification_types", f"Invalid value: {unknown[0]}")
        if topic and not re.fullmatch(r"projects/[^/]+/topics/[^/]+", topic):
            raise invalid("notification_setting.pubsub_topic", "The topic must be of the form projects/*/topics/*")
        if topic and mask & {"pubsubTopic", "pubsub_topic"}:
            known = self.twin.state.topics.get(topic)
            if known is None or not known.open:
                raise precondition("The Pub/Sub topic does not exist or mybusiness-api-pubsub may not publish on it.")
        if mask & {"pubsubTopic", "pubsub_topic"}:
            account.topic = topic
        if mask & {"notificationTypes", "notification_types"}:
            account.types = [str(one) for one in types]
        self.twin.effect("notification_setting", account.id, topic=account.topic, types=list(account.types))
        return _shown_setting(account)

    # Pub/Sub

    def _topic(self, call: Call) -> TwinTopic:
        topic = self.twin.state.topics.get(f"projects/{call.path('project')}/topics/{call.path('topic')}")
        if topic is None:
            raise not_found()
        return topic

    async def _policy(self, call: Call) -> Json:
        call.query(("options.requestedPolicyVersion",))
        binding = {"role": "roles/pubsub.publisher", "members": [PUBLISHER]}
        return {"version": 1, "etag": "BwXhqDfYyRw=", "bindings": [binding] if self._topic(call).open else []}

    async def _subscriptions(self, call: Call) -> Json:
        call.query(("pageSize", "pageToken"))
        return {"subscriptions": list(self._topic(call).subscriptions)}

    async def _subscription(self, call: Call) -> Json:
        call.query(())
        name = f"projects/{call.path('project')}/subscriptions/{call.path('subscription')}"
        for topic in self.twin.state.topics.values():
            if name in topic.subscriptions:
                return {"name": name, "topic": topic.name, "pushConfig": topic.subscriptions[name]}
        raise not_found()

    # tokens and keys

    async def _token(self, request: Request) -> Response:
        """Exchange a code, or make an access token from the refresh token, which stays."""
        form = await form_of(request)
        try:
            self.server.clients = {self.twin.client_id: self.twin.client_secret}
            self.server.client(form)
            if form.get("grant_type") == "authorization_code":
                return self._granted(self.server.redeem(form))
            if form.get("grant_type") != "refresh_token":
                raise OAuthRefusal("unsupported_grant_type")
            user = self._holder(form.get("refresh_token", ""))
            if user is None:
                raise OAuthRefusal("invalid_grant")
        except OAuthRefusal as refusal:
            return _refused(refusal.error, "Bad Request" if "code" in form else "Token has been expired or revoked.")
        return JSONResponse(self._access(user, sorted(user.scopes)))

    def _holder(self, refresh: str) -> TwinUser | None:
        users = self.twin.state.users.values()
        return next((one for one in users if refresh and one.refresh_token == refresh), None)

    def _granted(self, grant: Grant) -> Response:
        user = self.twin.state.users[grant.person]
        answer = self._access(user, grant.scopes)
        asked = self.server.asked[-1]
        if asked.get("access_type") == "offline" and (asked.get("prompt") == "consent" or not user.consented):
            user.refresh_token = user.refresh_token or f"1//twin-refresh-{user.name}-{secrets.token_hex(6)}"
            answer["refresh_token"] = user.refresh_token
        user.consented = True
        return JSONResponse(answer)

    def _access(self, user: TwinUser, scopes: Iterable[str]) -> Json:
        access = f"ya29.twin-{secrets.token_hex(12)}"
        self.twin.state.tokens[access] = (user.name, self.twin.time.now() + timedelta(seconds=TOKEN_SECONDS))
        self.twin.effect("token", user.name)
        return {
            "access_token": access,
            "expires_in": TOKEN_SECONDS,
            "scope": " ".join(scopes),
            "token_type": "Bearer",
        }

    async def _revoke(self, request: Request) -> Response:
        token = (await form_of(request)).get("token", "")
        state = self.twin.state
        user = self._holder(token)
        owner = user.name if user is not None else state.tokens.get(token, ("",))[0]
        if not owner:
            return JSONResponse({"error": "invalid_token", "error_description": "Token expired or revoked"}, 400)
        self.twin.revoke(owner)
        self.twin.effect("revoked", owner)
        return JSONResponse({})

    async def _picture(self, request: Request) -> Response:
        """Pictures are public: whoever has the address may have them, in whatever size it asks for."""
        name = str(request.path_params["name"]).partition("=")[0]
        if name not in self.twin.pictures:
            return Response(status_code=404)
        body, media_type = self.twin.pictures[name]
        return Response(body, media_type=media_type)

    async def _certs(self, request: Request) -> Response:
        headers = {"cache-control": f"public, max-age={self.twin.keys.max_age}, must-revalidate, no-transform"}
        return JSONResponse(self.twin.keys.published(), headers=headers)


def _refused(error: str, words: str) -> Response:
    if error == "invalid_client":
        words = "Unauthorized"
    status = 401 if error == "invalid_client" else 400
    return JSONResponse({"error": error, "error_description": words}, status)


def _shown_account(account: TwinAccount) -> Json:
    return {
        "name": f"accounts/{account.id}",
        "accountName": account.name,
        "type": account.type,
        "role": "PRIMARY_OWNER",
        "verificationState": "VERIFIED",
        "vettedState": "NOT_VETTED",
    }


def _shown_setting(account: TwinAccount) -> Json:
    found: dict[str, Any] = {"name": f"accounts/{account.id}/notificationSetting"}
    return found | {
        key: value
        for key, value in {"pubsubTopic": account.topic, "notificationTypes": list(account.types)}.items()
        if value
    }


def _page(items: list[Json], size: int, token: str) -> tuple[list[Json], str]:
    if token and not token.startswith("twin-page-"):
        raise invalid("page_token", "Invalid page token")
    start = int(token.removeprefix("twin-page-") or 0)
    return items[start : start + size], f"twin-page-{start + size}" if start + size < len(items) else ""
