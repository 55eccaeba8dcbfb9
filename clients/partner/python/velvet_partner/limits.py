"""What the answers' headers say of limits: RateLimit and RateLimit-Policy (an IETF draft), and Retry-After (RFC 9110)."""

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from email.message import Message
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Limit:
    """One limit, and what is left of it."""

    policy: str
    remaining: int
    reset_seconds: int | None  # when there is more, from now
    quota: int | None  # how much there is in all, if the policy was told


def _items(value: str) -> dict[str, dict[str, int]]:
    """`"name";a=1;b=2, "other";a=3` as names with those of their parameters that are numbers."""
    found = re.findall(r'"([^"]*)"((?:\s*;\s*[a-z-]+(?:=[^;,\s]+)?)*)', value)
    return {name: {key: int(number) for key, number in re.findall(r"([a-z]+)=(\d+)", more)} for name, more in found}


def limits_of(headers: Message) -> list[Limit]:
    policies = _items(headers.get("ratelimit-policy", ""))
    left = _items(headers.get("ratelimit", ""))
    return [Limit(name, of.get("r", 0), of.get("t"), policies.get(name, {}).get("q")) for name, of in left.items()]


def retry_after_seconds(headers: Message, now: datetime | None = None) -> float | None:
    """In seconds; it comes as a number of them or as a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    if value.isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at - (now or datetime.now(timezone.utc))).total_seconds())
