"""What the documentation says under "Sign your calls"."""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Signature:
    """What goes with a request: as headers over HTTP, as members of `signature` on a socket."""

    timestamp: int  # seconds since 1970
    nonce: str  # used once
    signature: str


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _hmac(secret: str, text: str) -> str:
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def signing_secret(key: str) -> str:
    """The secret follows from the key, so there is nothing else to keep."""
    return _hmac(_sha256(key.encode()), "velvet-signing-v1")


def sign(key: str, method: str, path_and_query: str, body: bytes, timestamp: int, nonce: str) -> str:
    """The signature of a request; the path with its query is as it is sent, the body empty when there is none."""
    message = "\n".join([str(timestamp), nonce, method, path_and_query, _sha256(body)])
    return _hmac(signing_secret(key), message)


def signed(key: str, method: str, path_and_query: str, body: bytes) -> Signature:
    """Signs a request now. Each try needs a signature of its own: a nonce is good once."""
    timestamp, nonce = int(time.time()), secrets.token_urlsafe(24)
    return Signature(timestamp, nonce, sign(key, method, path_and_query, body, timestamp, nonce))
