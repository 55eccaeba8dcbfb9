"""The operations of this integration, and the manifest that registers them."""

import hashlib
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "operations"


def read_manifest(folder: Path = FOLDER) -> dict[str, Any]:
    """In Apollo's format. An operation's id is the SHA-256 of its text: a changed operation is another one."""
    operations = []
    for file in sorted(folder.glob("*.graphql")):
        body = file.read_text().strip()
        head = re.match(r"(query|mutation|subscription)\s+(\w+)", body)
        if head is None:
            raise ValueError(f"{file.name} holds no named operation")
        operation_id = hashlib.sha256(body.encode()).hexdigest()
        operations.append({"id": operation_id, "name": head[2], "type": head[1], "body": body})
    return {"format": "apollo-persisted-query-manifest", "version": 1, "operations": operations}


def id_of(manifest: dict[str, Any], name: str) -> str:
    return next(operation["id"] for operation in manifest["operations"] if operation["name"] == name)
