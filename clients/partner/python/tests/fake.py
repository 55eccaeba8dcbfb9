"""A stand-in of the graph that does what a test tells it to."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from velvet_partner.settings import Settings
from websockets.sync.server import ServerConnection, serve

KEY = "vk_test_abcdefghijkl_" + "A" * 43


def refusal(code: str, **more: Any) -> dict[str, Any]:
    return {"errors": [{"message": code.lower(), "extensions": {"code": code, **more}}]}


class FakeHttp:
    """Replies to requests in turn: a status, a body, and headers if there are any."""

    def __init__(self, *replies: tuple[Any, ...]) -> None:
        self.replies, self.seen, self.slept = list(replies), [], []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                fake.seen.append((self.command, self.path, self.headers, body))
                status, answer, headers = (*fake.replies.pop(0), {})[:3]
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"" if status == 304 else json.dumps(answer).encode())

            do_GET = do_POST = answer

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        url = f"http://127.0.0.1:{self.server.server_port}"
        self.settings = Settings(url, lambda: KEY, sleep=self.slept.append)

    def __enter__(self) -> "FakeHttp":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


Say = Callable[..., None]
Script = Callable[[ServerConnection, Say], None]


class FakeSocket:
    """Runs a script for each subscription in turn; the connection ends with the script."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts, self.subscribed, self.slept = list(scripts), [], []
        self.server = serve(self._serve, "127.0.0.1", 0, subprotocols=["graphql-transport-ws"])
        url = f"http://127.0.0.1:{self.server.socket.getsockname()[1]}"
        self.settings = Settings(url, lambda: KEY, sleep=self.slept.append)

    def _serve(self, socket: ServerConnection) -> None:
        init = json.loads(socket.recv())["payload"]
        socket.send(json.dumps({"type": "connection_ack"}))
        message = json.loads(socket.recv())
        self.subscribed.append((init, message["payload"]))

        def say(kind: str, payload: Any = None) -> None:
            socket.send(json.dumps({"id": message["id"], "type": kind, "payload": payload}))

        self.scripts.pop(0)(socket, say)

    def __enter__(self) -> "FakeSocket":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
