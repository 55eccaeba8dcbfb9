"""Where the graph is, and who calls."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    url: str  # such as https://graph.example
    key: Callable[[], str]  # asked for each call and connection: a new key is taken as soon as it is in place
    sign: bool = False
    sleep: Callable[[float], None] = time.sleep
    on_wait: Callable[[float, Exception], None] = lambda _seconds, _reason: None  # before a call is sent again


def settings_from(env: Mapping[str, str]) -> Settings:
    url, key, file = env.get("VELVET_URL"), env.get("VELVET_PARTNER_KEY"), env.get("VELVET_PARTNER_KEY_FILE")
    if not url:
        raise ValueError("VELVET_URL says where the graph is")
    if not key and not file:
        raise ValueError("VELVET_PARTNER_KEY is the key, or VELVET_PARTNER_KEY_FILE the file that it stands in")
    return Settings(
        url=url.rstrip("/"),
        key=lambda: key or Path(file or "").read_text().strip(),
        sign=env.get("VELVET_SIGN") == "1",
    )
