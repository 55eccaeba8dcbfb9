"""The integration as a program: publish, me, matches, follow."""

import json
import os
import sys
import uuid
from dataclasses import asdict, replace
from http.client import HTTPException
from typing import Any

from .client import Client
from .errors import Refused
from .manifest import id_of, read_manifest
from .settings import settings_from
from .stream import follow

PAGE = 2
MANIFEST = read_manifest()


def say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def note(line: dict[str, Any]) -> None:
    print(json.dumps(line), file=sys.stderr, flush=True)


def told(reason: Exception) -> dict[str, Any]:
    """Why something has to be done once more, for whoever reads along."""
    if isinstance(reason, Refused):
        return {"refused": reason.code, "retryAfterSeconds": reason.retry_after_seconds}
    return {"failed": str(reason)}


def publish(client: Client, argument: str | None) -> int:
    report = client.publish(MANIFEST, "python-example", argument or str(uuid.uuid4()))
    say(report)
    return 0 if report["ok"] else 1


def me(client: Client, _argument: str | None) -> int:
    called = client.call(id_of(MANIFEST, "Me"))
    client.get(id_of(MANIFEST, "Me"))
    again = client.get(id_of(MANIFEST, "Me"))
    limits = [asdict(limit) for limit in again.limits]
    say({"user": called.data["me"]["user"], "unchanged": again.unchanged, "limits": limits})
    return 0


def matches(client: Client, _argument: str | None) -> int:
    for match in client.nodes(id_of(MANIFEST, "Matches"), PAGE, lambda data: data["matches"]):
        say({"match": match})
    return 0


def follow_matches(client: Client, argument: str | None) -> int:
    events = follow(
        client.settings,
        id_of(MANIFEST, "MatchEvents"),
        after=argument,
        on_start=lambda cursor: say({"following": True, "cursor": cursor}),
        on_lost=lambda reason: note({"lost": told(reason)}),
    )
    for event in events:
        happened = (event.data or {}).get("matchEvents")
        say({"event": happened, "cursor": event.cursor, **({"errors": event.errors} if event.errors else {})})
        # What was missed is kept no longer: read the state, and the stream goes on from here.
        if happened and happened["__typename"] == "StreamReset":
            matches(client, None)
    return 0


COMMANDS = {"publish": publish, "me": me, "matches": matches, "follow": follow_matches}


def main(arguments: list[str]) -> int:
    command = COMMANDS.get(arguments[0] if arguments else "")
    if command is None:
        note({"failed": f"one of {', '.join(COMMANDS)} is wanted"})
        return 1
    try:
        settings = replace(settings_from(os.environ), on_wait=lambda seconds, reason: note({"waits": seconds, **told(reason)}))
        return command(Client(settings), arguments[1] if len(arguments) > 1 else None)
    except Refused as refused:
        note({
            "refused": refused.code,
            "status": refused.status,
            "message": str(refused),
            "retryAfterSeconds": refused.retry_after_seconds,
        })
        return 3 if refused.is_about_the_key else 1
    except (OSError, HTTPException, ValueError) as error:
        note({"failed": str(error)})
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
