import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { idOf, readManifest } from "../src/manifest.js";

test("the manifest holds each operation under the hash of its text", () => {
  const manifest = readManifest();
  const said = manifest.operations.map(({ name, type }) => `${type} ${name}`);
  assert.deepEqual(said, ["subscription MatchEvents", "query Matches", "query Me"]);
  for (const { id, body } of manifest.operations) assert.equal(id, createHash("sha256").update(body).digest("hex"));
  assert.throws(() => idOf(manifest, "None"));
});
