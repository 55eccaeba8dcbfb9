"""Calls over HTTP: publishing, operations by their id, pages, and waiting when told to."""

import json
import random
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

from .errors import Refused
from .limits import Limit, limits_of, retry_after_seconds
from .settings import Settings
from .signing import signed

TRIES = 5
ANSWER_WITHIN_SECONDS = 30
# Longer is for a person to know of: a quota of the month, say.
WAIT_SECONDS_MAX = 60
JSON_TYPE = {"content-type": "application/json"}


@dataclass(frozen=True)
class Answer:
    data: dict[str, Any]
    limits: list[Limit]  # what is left, as far as the answer says so
    unchanged: bool = False  # whether it is the one that was kept from before (304)


@dataclass(frozen=True)
class Response:
    status: int
    headers: Message
    body: bytes


class Client:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # Answers by address, with their tags. A program that runs for long would bound this.
        self._kept: dict[str, tuple[str, dict[str, Any]]] = {}

    def publish(self, manifest: dict[str, Any], client: str, idempotency_key: str) -> dict[str, Any]:
        """Registers operations, all or none. The same idempotency key twice is one release."""
        query = urlencode({"client": client, "idempotencyKey": idempotency_key})
        response = self._send("POST", f"/graphql/op?{query}", json.dumps(manifest).encode(), JSON_TYPE)
        if response.status in (200, 422):
            return json.loads(response.body)
        raise _refusal_of(response)

    def call(self, operation_id: str, variables: dict[str, Any] | None = None) -> Answer:
        """Calls an operation by its id."""
        body = json.dumps({"documentId": operation_id, "variables": variables or {}}).encode()
        response = self._send("POST", "/graphql", body, JSON_TYPE)
        return Answer(_data_of(response), limits_of(response.headers))

    def get(self, operation_id: str, variables: dict[str, Any] | None = None) -> Answer:
        """Calls a query by its address, which asks only whether it has changed when it was asked before."""
        address = f"/graphql/op/{operation_id}?{urlencode({'variables': json.dumps(variables or {})})}"
        kept = self._kept.get(address)
        response = self._send("GET", address, b"", {"if-none-match": kept[0]} if kept else {})
        limits = limits_of(response.headers)
        if response.status == 304 and kept:
            return Answer(kept[1], limits, unchanged=True)
        data = _data_of(response)
        if tag := response.headers.get("etag"):
            self._kept[address] = (tag, data)
        return Answer(data, limits)

    def nodes(self, operation_id: str, first: int, connection: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[Any]:
        """All nodes of a connection, page by page."""
        after = None
        while True:
            page = connection(self.call(operation_id, {"first": first, "after": after}).data)
            yield from page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    def _send(self, method: str, path_and_query: str, body: bytes, headers: dict[str, str]) -> Response:
        """Sends a request, and again when the graph asks for patience or the network fails."""
        tried = 1
        while True:
            try:
                response = self._send_once(method, path_and_query, body, headers)
            except (OSError, HTTPException) as error:
                if tried == TRIES:
                    raise
                reason: Exception = error
            else:
                if response.status not in (429, 503):
                    return response
                reason = _refusal_of(response)
                if tried == TRIES or (reason.retry_after_seconds or 0) > WAIT_SECONDS_MAX:
                    raise reason
            seconds = pause_seconds(tried, reason)
            self.settings.on_wait(seconds, reason)
            self.settings.sleep(seconds)
            tried += 1

    def _send_once(self, method: str, path_and_query: str, body: bytes, headers: dict[str, str]) -> Response:
        key = self.settings.key()
        sent = {**headers, "accept": "application/graphql-response+json", "x-api-key": key}
        if self.settings.sign:
            signature = signed(key, method, path_and_query, body)
            sent["x-velvet-timestamp"] = str(signature.timestamp)
            sent["x-velvet-nonce"] = signature.nonce
            sent["x-velvet-signature"] = signature.signature
        data = None if method == "GET" else body
        request = urllib.request.Request(f"{self.settings.url}{path_and_query}", data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_SECONDS) as answer:
                return Response(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:  # Also 304, which has no body.
            with error:
                return Response(error.code, error.headers, error.read())


def backoff_seconds(tried: int) -> float:
    """0.25 s, doubled with each try up to 8 s, and then anything between half of it and all."""
    return min(8.0, 0.25 * 2 ** (tried - 1)) * random.uniform(0.5, 1)


def pause_seconds(tried: int, reason: Exception) -> float:
    """As long as the graph asks for, and up to a second more so that not all come back at once; else the above."""
    after = reason.retry_after_seconds if isinstance(reason, Refused) else None
    return backoff_seconds(tried) if after is None else after + random.random()


def _data_of(response: Response) -> dict[str, Any]:
    body = _parse(response.body)
    if body.get("errors"):
        raise Refused.of(body["errors"], response.status, retry_after_seconds(response.headers))
    if body.get("data") is None:
        raise Refused("UNKNOWN", response.status, response.body[:200].decode(errors="replace"))
    return body["data"]


def _refusal_of(response: Response) -> Refused:
    body = _parse(response.body)
    errors = body.get("errors") or []
    if error := body.get("error"):
        errors = [{"message": error["message"], "extensions": {"code": error["code"]}}]
    return Refused.of(errors, response.status, retry_after_seconds(response.headers))


def _parse(body: bytes) -> dict[str, Any]:
    try:
        return json.loads(body)
    except ValueError:
        return {}
