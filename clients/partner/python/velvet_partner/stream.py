"""A live stream by an operation's id, over as many connections as it takes and across a change of the key."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from .client import pause_seconds
from .errors import Refused
from .settings import Settings
from .signing import signed

PROTOCOL = Subprotocol("graphql-transport-ws")
# After these close codes the same would only be refused again: against the protocol, or too large.
FATAL_CLOSES = (1009, 4400, 4401, 4406, 4408, 4409, 4429)
KEY_ENDED = 4403
ACKNOWLEDGED_WITHIN_SECONDS = 10
# A key is given up when it was refused so often in a row: once may be bad timing.
REFUSALS_MAX = 2


@dataclass(frozen=True)
class Event:
    data: dict[str, Any] | None
    errors: list[dict[str, Any]]
    cursor: str | None  # where to go on after this event


def follow(
    settings: Settings,
    operation_id: str,
    variables: dict[str, Any] | None = None,
    after: str | None = None,
    on_start: Callable[[str | None], None] = lambda _cursor: None,
    on_lost: Callable[[Exception], None] = lambda _reason: None,
) -> Iterator[Event]:
    """Events, each once and in order. Ends when the operation does, fails when the key or the operation is not good.

    `after` goes on after this cursor instead of starting now. `on_start` is called when the stream stands: from then on
    nothing is missed. `on_lost` is called for each connection that was lost.
    """
    cursor, lost, refusals, key = after, 0, 0, ""
    while True:
        current = settings.key()
        if current != key:
            refusals = 0
        key = current
        # Without a cursor, the first message says where the stream starts.
        extensions = {"position": True} if cursor is None else {"after": cursor}
        payload = {"documentId": operation_id, "variables": variables or {}, "extensions": extensions}
        try:
            for response in _responses(settings, key, payload):
                lost = refusals = 0
                said = response.get("extensions") or {}
                cursor = said.get("cursor") or cursor
                if said.get("positioned"):
                    on_start(cursor)
                else:
                    yield Event(response.get("data"), response.get("errors") or [], cursor)
            return
        except Refused as refused:
            if not refused.is_about_the_key and not refused.passes:
                raise
            # The next key may be in place already; without one, the same is tried once more.
            if refused.is_about_the_key and settings.key() == key:
                refusals += 1
                if refusals == REFUSALS_MAX:
                    raise
            reason: Exception = refused
        except (ConnectionClosed, InvalidHandshake, OSError) as error:  # A connection that was lost: that passes.
            reason = error
        on_lost(reason)
        lost += 1
        settings.sleep(pause_seconds(lost, reason))


def _responses(settings: Settings, key: str, payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One connection: what comes after it is lost is for the caller, who knows the cursor."""
    url = settings.url.replace("http", "ws", 1) + "/ws"
    # The library pings, and lets go of a network that went away without a word.
    with connect(url, subprotocols=[PROTOCOL], ping_interval=10, ping_timeout=5, close_timeout=2) as socket:
        try:
            init: dict[str, Any] = {"apiKey": key}
            if settings.sign:
                init["signature"] = asdict(signed(key, "GET", "/ws", b""))
            _say(socket, {"type": "connection_init", "payload": init})
            while _hear(socket, ACKNOWLEDGED_WITHIN_SECONDS)["type"] != "connection_ack":
                pass
            _say(socket, {"id": "1", "type": "subscribe", "payload": payload})
            while (message := _hear(socket))["type"] != "complete":
                if message["type"] == "error":
                    raise Refused.of(message["payload"], None)
                if message["type"] == "next":
                    yield message["payload"]
        except ConnectionClosed as closed:
            raise _refusal_of(closed) or closed from None


def _say(socket: ClientConnection, message: dict[str, Any]) -> None:
    socket.send(json.dumps(message))


def _hear(socket: ClientConnection, within_seconds: float | None = None) -> dict[str, Any]:
    message = json.loads(socket.recv(within_seconds))
    if message["type"] == "ping":
        _say(socket, {"type": "pong"})
    return message


def _refusal_of(closed: ConnectionClosed) -> Refused | None:
    code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
    if code == KEY_ENDED:
        return Refused("UNAUTHENTICATED", code, reason)
    return Refused("BAD_REQUEST", code, reason) if code in FATAL_CLOSES else None
