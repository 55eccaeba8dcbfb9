import assert from "node:assert/strict";
import { test } from "node:test";

import { Client, type Page } from "../src/client.js";
import { Refused } from "../src/errors.js";
import { limitsOf, retryAfterSeconds } from "../src/limits.js";
import { sign } from "../src/signing.js";
import { fake, refusal } from "./fake.js";

const good = { data: { me: 1 } };

test("an operation is called by its id, with the key", async (context) => {
  const { settings, seen } = await fake(context, [[200, good, { ratelimit: '"second";r=49;t=1' }]]);
  const answer = await new Client(settings).call("a", { b: 1 });
  assert.deepEqual(answer.data, { me: 1 });
  assert.deepEqual(answer.limits, [{ policy: "second", remaining: 49, resetSeconds: 1, quota: null }]);
  assert.deepEqual(JSON.parse(seen[0]?.body ?? ""), { documentId: "a", variables: { b: 1 } });
  assert.equal(seen[0]?.headers["x-api-key"], settings.key());
  assert.equal(seen[0]?.headers["x-velvet-signature"], undefined);
});

test("each try is signed anew", async (context) => {
  const { settings, seen } = await fake(context, [[503, refusal("OVERLOADED")], [200, good]]);
  await new Client({ ...settings, sign: true }).call("a");
  const nonces = seen.map(({ method, url, body, headers }) => {
    const [timestamp, nonce] = [Number(headers["x-velvet-timestamp"]), String(headers["x-velvet-nonce"])];
    const expected = sign(settings.key(), { method, pathAndQuery: url, body }, timestamp, nonce);
    assert.equal(headers["x-velvet-signature"], expected);
    return nonce;
  });
  assert.equal(new Set(nonces).size, 2);
});

test("the graph is waited for as long as it asks", async (context) => {
  const limited = refusal("RATE_LIMITED", { retryAfterSeconds: 3 });
  const { settings, slept } = await fake(context, [
    [429, limited, { "retry-after": "3" }],
    [503, refusal("OVERLOADED"), { "retry-after": "1" }],
    [503, refusal("UNAVAILABLE")],
    [200, good],
  ]);
  assert.deepEqual((await new Client(settings).call("a")).data, { me: 1 });
  // And a random part of a second more.
  assert.deepEqual(slept.slice(0, 2).map(Math.floor), [3, 1]);
  assert.ok((slept[2] ?? 0) > 0 && (slept[2] ?? 0) <= 1);
});

test("what takes too long, or never ends, is told", async (context) => {
  const spent = refusal("RATE_LIMITED", { retryAfterSeconds: 86_400 });
  const busy = [429, refusal("RATE_LIMITED", { retryAfterSeconds: 2 }), { "retry-after": "2" }] as const;
  const { settings, slept } = await fake(context, [[429, spent, { "retry-after": "86400" }], ...Array(5).fill([...busy])]);
  const client = new Client(settings);
  await assert.rejects(client.call("a"), (error) => error instanceof Refused && error.retryAfterSeconds === 86_400);
  assert.deepEqual(slept, []);
  await assert.rejects(client.call("a"), (error) => error instanceof Refused && error.code === "RATE_LIMITED" && error.passes);
  assert.deepEqual(slept.map(Math.floor), [2, 2, 2, 2]);
});

test("what no retry helps is told at once", async (context) => {
  const { settings, slept } = await fake(context, [[401, refusal("UNAUTHENTICATED")], [404, refusal("OPERATION_NOT_FOUND")]]);
  const client = new Client(settings);
  await assert.rejects(client.call("a"), (error) => error instanceof Refused && error.isAboutTheKey && error.status === 401);
  await assert.rejects(client.call("a"), (error) => error instanceof Refused && error.code === "OPERATION_NOT_FOUND");
  assert.deepEqual(slept, []);
});

test("an answer by address is kept by its tag", async (context) => {
  const { settings, seen } = await fake(context, [[200, good, { etag: '"x"' }], [304, null]]);
  const client = new Client(settings);
  assert.deepEqual(await client.get("a", { b: 1 }), { data: { me: 1 }, limits: [], unchanged: false });
  assert.deepEqual(await client.get("a", { b: 1 }), { data: { me: 1 }, limits: [], unchanged: true });
  assert.equal(seen[0]?.url, "/graphql/op/a?variables=%7B%22b%22%3A1%7D");
  assert.deepEqual(seen.map(({ headers }) => headers["if-none-match"]), [undefined, '"x"']);
});

test("a connection is read to its end", async (context) => {
  const page = (nodes: number[], endCursor: string | null): [number, unknown] => [
    200,
    { data: { all: { nodes, pageInfo: { hasNextPage: endCursor !== null, endCursor } } } },
  ];
  const { settings, seen } = await fake(context, [page([1, 2], "c"), page([3], null)]);
  const nodes: number[] = [];
  for await (const node of new Client(settings).nodes("a", 2, (data: { all: Page<number> }) => data.all)) nodes.push(node);
  assert.deepEqual(nodes, [1, 2, 3]);
  const asked = seen.map(({ body }) => (JSON.parse(body) as { variables: unknown }).variables);
  assert.deepEqual(asked, [{ first: 2, after: null }, { first: 2, after: "c" }]);
});

test("a report is an answer, whether it is good or not", async (context) => {
  const report = { ok: false, release: null, operations: [{ id: "a", problems: ["no"] }] };
  const { settings, seen } = await fake(context, [[422, report], [409, { error: { code: "OPERATION_CHANGED", message: "no" } }]]);
  const client = new Client(settings);
  const manifest = { format: "apollo-persisted-query-manifest", version: 1, operations: [] } as const;
  assert.deepEqual(await client.publish({ ...manifest, operations: [] }, "web", "k"), report);
  assert.equal(seen[0]?.url, "/graphql/op?client=web&idempotencyKey=k");
  const changed = client.publish({ ...manifest, operations: [] }, "web", "l");
  await assert.rejects(changed, (error) => error instanceof Refused && error.code === "OPERATION_CHANGED");
});

test("limits and waits are read from headers", () => {
  const headers = new Headers({
    ratelimit: '"second";r=1;t=2, "month";r=0',
    "ratelimit-policy": '"second";velvet-local;q=50;w=1;qu="requests", "month";q=1000;w=2678400',
  });
  assert.deepEqual(limitsOf(headers), [
    { policy: "second", remaining: 1, resetSeconds: 2, quota: 50 },
    { policy: "month", remaining: 0, resetSeconds: null, quota: 1000 },
  ]);
  const after = (value: string): number | null =>
    retryAfterSeconds(new Headers({ "retry-after": value }), Date.parse("2026-01-01T00:00:00Z"));
  assert.deepEqual(["7", "Thu, 01 Jan 2026 00:00:09 GMT", "soon"].map(after), [7, 9, null]);
});
