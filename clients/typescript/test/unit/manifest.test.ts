import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { type DocumentNode, parse } from "graphql";

interface Manifest {
  format: string;
  version: number;
  operations: { id: string; name: string; type: string; body: string }[];
}

const folder = new URL("../../../", import.meta.url);
const { manifestOf, manifestText } = (await import(new URL("manifest.mjs", folder).href)) as {
  manifestOf: (documents: DocumentNode[]) => Manifest;
  manifestText: () => Promise<string>;
};

test("the manifest that is checked in is that of the operations", async () => {
  const kept = await readFile(new URL("persisted-query-manifest.json", folder), "utf8");
  assert.equal(kept, await manifestText(), "run npm run manifest and look at the difference");
});

test("an operation stands with the fragments that it needs, under the hash of its text", () => {
  const operations = parse("query B { me { ...P } } mutation A { touch } fragment P on User { id ...Q }");
  const fragments = parse("fragment Q on User { name } fragment R on User { name }");
  const manifest = manifestOf([operations, fragments]);
  assert.deepEqual([manifest.format, manifest.version], ["apollo-persisted-query-manifest", 1]);
  const [a, b] = manifest.operations;
  assert.deepEqual([a?.name, a?.type, a?.body], ["A", "mutation", "mutation A {\n  touch\n}"]);
  assert.ok(b);
  assert.deepEqual([b.name, b.type], ["B", "query"]);
  assert.equal(b.id, createHash("sha256").update(b.body).digest("hex"));
  const expected = `fragment P on User { id ...Q __typename } fragment Q on User { name __typename }
    query B { me { ...P __typename } }`;
  assert.equal(b.body.replace(/\s+/g, " "), expected.replace(/\s+/g, " "));
});

test("a fragment that is not there is said", () => {
  assert.throws(() => manifestOf([parse("query A { me { ...Lost } }")]), /no fragment Lost/);
});
