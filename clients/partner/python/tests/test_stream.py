import unittest
from dataclasses import replace
from typing import Any

from velvet_partner.errors import Refused
from velvet_partner.settings import Settings
from velvet_partner.signing import sign
from velvet_partner.stream import follow
from websockets.sync.server import ServerConnection

from .fake import KEY, FakeSocket, Say, Script, refusal

POSITION = {"data": None, "extensions": {"cursor": "c0", "positioned": True}}


def event(number: int) -> dict[str, Any]:
    return {"data": {"n": number}, "extensions": {"cursor": f"c{number}"}}


def then_lost(*payloads: dict[str, Any]) -> Script:
    """Says these, and goes away without a word."""

    def script(socket: ServerConnection, say: Say) -> None:
        for payload in payloads:
            say("next", payload)
        socket.socket.shutdown(2)

    return script


def then_complete(*payloads: dict[str, Any]) -> Script:
    def script(_: ServerConnection, say: Say) -> None:
        for payload in payloads:
            say("next", payload)
        say("complete")

    return script


def refuse(code: str, **more: Any) -> Script:
    return lambda _, say: say("error", refusal(code, **more)["errors"])


def refuse_key(socket: ServerConnection, say: Say) -> None:
    say("error", refusal("UNAUTHENTICATED")["errors"])
    socket.close(4403, "Forbidden")


def numbers(settings: Settings, **options: Any) -> list[int]:
    return [event.data["n"] for event in follow(settings, "a", **options) if event.data]


class Streams(unittest.TestCase):
    def test_a_stream_goes_on_behind_the_last_event_when_its_connection_is_lost(self) -> None:
        started: list[str | None] = []
        away: Script = lambda socket, _: socket.close(1001, "Going away")
        with FakeSocket(then_lost(POSITION, event(1), event(2)), away, then_complete(event(3))) as fake:
            self.assertEqual(numbers(fake.settings, on_start=started.append), [1, 2, 3])
        self.assertEqual(started, ["c0"])
        asked = [payload["extensions"] for _, payload in fake.subscribed]
        self.assertEqual(asked, [{"position": True}, {"after": "c2"}, {"after": "c2"}])
        self.assertTrue(all(init == {"apiKey": KEY} for init, _ in fake.subscribed))
        self.assertTrue(all(payload["documentId"] == "a" for _, payload in fake.subscribed))

    def test_a_connection_that_is_lost_before_the_first_event_goes_on_from_its_start(self) -> None:
        with FakeSocket(then_lost(POSITION), then_complete()) as fake:
            self.assertEqual(numbers(fake.settings), [])
        self.assertEqual(fake.subscribed[1][1]["extensions"], {"after": "c0"})

    def test_a_socket_is_signed_over_its_path(self) -> None:
        with FakeSocket(then_complete()) as fake:
            numbers(replace(fake.settings, sign=True))
        signature = fake.subscribed[0][0]["signature"]
        expected = sign(KEY, "GET", "/ws", b"", signature["timestamp"], signature["nonce"])
        self.assertEqual(signature["signature"], expected)

    def test_a_new_key_is_taken_when_the_old_one_ends(self) -> None:
        keys = ["old"]

        def rotated(socket: ServerConnection, say: Say) -> None:
            say("next", event(1))
            keys[0] = "new"
            refuse_key(socket, say)

        with FakeSocket(rotated, then_complete(event(2))) as fake:
            self.assertEqual(numbers(replace(fake.settings, key=lambda: keys[0])), [1, 2])
        asked = [(init["apiKey"], payload["extensions"].get("after")) for init, payload in fake.subscribed]
        self.assertEqual(asked, [("old", None), ("new", "c1")])

    def test_a_key_that_has_ended_without_another_ends_the_stream(self) -> None:
        with FakeSocket(refuse_key, lambda socket, _: socket.close(4403, "Forbidden")) as fake:
            with self.assertRaises(Refused) as raised:
                numbers(fake.settings)
        self.assertTrue(raised.exception.is_about_the_key)
        self.assertEqual(len(fake.subscribed), 2)

    def test_an_operation_that_is_refused_is_told_or_waited_for(self) -> None:
        with FakeSocket(refuse("RATE_LIMITED", retryAfterSeconds=7), refuse("OPERATION_NOT_FOUND")) as fake:
            with self.assertRaises(Refused) as raised:
                numbers(fake.settings)
        self.assertEqual(raised.exception.code, "OPERATION_NOT_FOUND")
        self.assertEqual(([int(seconds) for seconds in fake.slept], len(fake.subscribed)), ([7], 2))
