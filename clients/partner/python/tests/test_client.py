import json
import unittest
from datetime import datetime, timezone
from email.message import Message
from typing import Any

from velvet_partner.client import Answer, Client
from velvet_partner.errors import Refused
from velvet_partner.limits import Limit, limits_of, retry_after_seconds
from velvet_partner.settings import Settings
from velvet_partner.signing import sign

from .fake import KEY, FakeHttp, refusal

GOOD = {"data": {"me": 1}}


class Calls(unittest.TestCase):
    def refused(self, client: Client, code: str) -> Refused:
        with self.assertRaises(Refused) as raised:
            client.call("a")
        self.assertEqual(raised.exception.code, code)
        return raised.exception

    def test_an_operation_is_called_by_its_id_with_the_key(self) -> None:
        with FakeHttp((200, GOOD, {"ratelimit": '"second";r=49;t=1'})) as fake:
            answer = Client(fake.settings).call("a", {"b": 1})
        self.assertEqual(answer, Answer({"me": 1}, [Limit("second", 49, 1, None)]))
        _, _, headers, body = fake.seen[0]
        self.assertEqual(json.loads(body), {"documentId": "a", "variables": {"b": 1}})
        self.assertEqual((headers["x-api-key"], headers["x-velvet-signature"]), (KEY, None))

    def test_each_try_is_signed_anew(self) -> None:
        with FakeHttp((503, refusal("OVERLOADED")), (200, GOOD)) as fake:
            Client(Settings(fake.settings.url, fake.settings.key, True, fake.settings.sleep)).call("a")
        nonces = set()
        for method, path, headers, body in fake.seen:
            timestamp, nonce = int(headers["x-velvet-timestamp"]), headers["x-velvet-nonce"]
            self.assertEqual(headers["x-velvet-signature"], sign(KEY, method, path, body, timestamp, nonce))
            nonces.add(nonce)
        self.assertEqual(len(nonces), 2)

    def test_the_graph_is_waited_for_as_long_as_it_asks(self) -> None:
        limited = refusal("RATE_LIMITED", retryAfterSeconds=3)
        with FakeHttp(
            (429, limited, {"retry-after": "3"}),
            (503, refusal("OVERLOADED"), {"retry-after": "1"}),
            (503, refusal("UNAVAILABLE")),
            (200, GOOD),
        ) as fake:
            self.assertEqual(Client(fake.settings).call("a").data, {"me": 1})
        # And a random part of a second more.
        self.assertEqual([int(seconds) for seconds in fake.slept[:2]], [3, 1])
        self.assertTrue(0 < fake.slept[2] <= 1)

    def test_what_takes_too_long_or_never_ends_is_told(self) -> None:
        spent = (429, refusal("RATE_LIMITED", retryAfterSeconds=86_400), {"retry-after": "86400"})
        busy = (429, refusal("RATE_LIMITED", retryAfterSeconds=2), {"retry-after": "2"})
        with FakeHttp(spent, *[busy] * 5) as fake:
            client = Client(fake.settings)
            self.assertEqual(self.refused(client, "RATE_LIMITED").retry_after_seconds, 86_400)
            self.assertEqual(fake.slept, [])
            self.assertTrue(self.refused(client, "RATE_LIMITED").passes)
        self.assertEqual([int(seconds) for seconds in fake.slept], [2, 2, 2, 2])

    def test_what_no_retry_helps_is_told_at_once(self) -> None:
        with FakeHttp((401, refusal("UNAUTHENTICATED")), (404, refusal("OPERATION_NOT_FOUND"))) as fake:
            client = Client(fake.settings)
            self.assertTrue(self.refused(client, "UNAUTHENTICATED").is_about_the_key)
            self.assertEqual(self.refused(client, "OPERATION_NOT_FOUND").status, 404)
        self.assertEqual(fake.slept, [])

    def test_an_answer_by_address_is_kept_by_its_tag(self) -> None:
        with FakeHttp((200, GOOD, {"etag": '"x"'}), (304, None)) as fake:
            client = Client(fake.settings)
            self.assertEqual(client.get("a", {"b": 1}), Answer({"me": 1}, []))
            self.assertEqual(client.get("a", {"b": 1}), Answer({"me": 1}, [], unchanged=True))
        self.assertEqual(fake.seen[0][1], "/graphql/op/a?variables=%7B%22b%22%3A+1%7D")
        self.assertEqual([headers["if-none-match"] for _, _, headers, _ in fake.seen], [None, '"x"'])

    def test_a_connection_is_read_to_its_end(self) -> None:
        def page(nodes: list[int], end_cursor: str | None) -> tuple[int, Any]:
            page_info = {"hasNextPage": end_cursor is not None, "endCursor": end_cursor}
            return 200, {"data": {"all": {"nodes": nodes, "pageInfo": page_info}}}

        with FakeHttp(page([1, 2], "c"), page([3], None)) as fake:
            self.assertEqual(list(Client(fake.settings).nodes("a", 2, lambda data: data["all"])), [1, 2, 3])
        asked = [json.loads(body)["variables"] for _, _, _, body in fake.seen]
        self.assertEqual(asked, [{"first": 2, "after": None}, {"first": 2, "after": "c"}])

    def test_a_report_is_an_answer_whether_it_is_good_or_not(self) -> None:
        report = {"ok": False, "release": None, "operations": [{"id": "a", "problems": ["no"]}]}
        changed = {"error": {"code": "OPERATION_CHANGED", "message": "no"}}
        with FakeHttp((422, report), (409, changed)) as fake:
            client = Client(fake.settings)
            self.assertEqual(client.publish({"operations": []}, "web", "k"), report)
            with self.assertRaises(Refused) as raised:
                client.publish({"operations": []}, "web", "l")
        self.assertEqual(fake.seen[0][1], "/graphql/op?client=web&idempotencyKey=k")
        self.assertEqual((raised.exception.code, raised.exception.status), ("OPERATION_CHANGED", 409))


class Headers(unittest.TestCase):
    def test_limits_and_waits_are_read_from_headers(self) -> None:
        headers = Message()
        headers["ratelimit"] = '"second";r=1;t=2, "month";r=0'
        headers["ratelimit-policy"] = '"second";velvet-local;q=50;w=1;qu="requests", "month";q=1000;w=2678400'
        self.assertEqual(limits_of(headers), [Limit("second", 1, 2, 50), Limit("month", 0, None, 1000)])
        now = datetime(2026, 1, 1, tzinfo=timezone.utc)
        for value, expected in [("7", 7), ("Thu, 01 Jan 2026 00:00:09 GMT", 9), ("soon", None)]:
            headers = Message()
            headers["retry-after"] = value
            self.assertEqual(retry_after_seconds(headers, now), expected)
