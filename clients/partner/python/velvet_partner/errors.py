"""Refusals, by the codes of "Errors" in the documentation."""

from typing import Any


class Refused(Exception):
    """The graph has refused something: the code says what to do."""

    def __init__(self, code: str, status: int | None, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def of(cls, errors: list[dict[str, Any]], status: int | None, retry_after_seconds: float | None = None) -> "Refused":
        first = errors[0] if errors else {}
        extensions = first.get("extensions") or {}
        after = extensions.get("retryAfterSeconds", retry_after_seconds)
        return cls(extensions.get("code", "UNKNOWN"), status, first.get("message", "no reason given"), after)

    @property
    def is_about_the_key(self) -> bool:
        """Whether the key is not good, or not any more."""
        return self.code == "UNAUTHENTICATED"

    @property
    def passes(self) -> bool:
        """Whether the same may work later."""
        return self.code in ("RATE_LIMITED", "OVERLOADED", "UNAVAILABLE")
