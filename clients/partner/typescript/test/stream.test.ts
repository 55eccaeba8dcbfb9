import assert from "node:assert/strict";
import { test } from "node:test";

import { Refused } from "../src/errors.js";
import { sign } from "../src/signing.js";
import { follow } from "../src/stream.js";
import { type Script, fake, refusal } from "./fake.js";

const LIMIT = { timeout: 20_000 };
const event = (number: number): unknown => ({ data: { n: number }, extensions: { cursor: `c${number}` } });
const position = { data: null, extensions: { cursor: "c0", positioned: true } };
const errors = (code: string, more = {}): unknown => (refusal(code, more) as { errors: unknown }).errors;
const refuse = (code: string, more = {}): Script => (_, say) => say("error", errors(code, more));
const refuseKey: Script = (_, say, socket) => {
  say("error", errors("UNAUTHENTICATED"));
  socket.close(4403, "Forbidden");
};

async function numbers(events: AsyncIterable<{ data: { n: number } | null }>): Promise<(number | undefined)[]> {
  const seen = [];
  for await (const { data } of events) seen.push(data?.n);
  return seen;
}

test("a stream goes on behind the last event when its connection is lost", LIMIT, async (context) => {
  const { settings, subscribed } = await fake(context, [], [
    (_, say, socket) => {
      for (const payload of [position, event(1), event(2)]) say("next", payload);
      setTimeout(() => socket.terminate(), 50);
    },
    (_, __, socket) => socket.close(1001, "Going away"),
    (_, say) => {
      say("next", event(3));
      say("complete");
    },
  ]);
  const started: unknown[] = [];
  const seen = await numbers(follow<{ n: number }>(settings, "a", {}, { onStart: (cursor) => started.push(cursor) }));
  assert.deepEqual(seen, [1, 2, 3]);
  assert.deepEqual(started, ["c0"]);
  assert.deepEqual(subscribed.map(({ payload }) => payload.extensions), [{ position: true }, { after: "c2" }, { after: "c2" }]);
  assert.ok(subscribed.every(({ init, payload }) => init.apiKey === settings.key() && payload.documentId === "a"));
});

test("a connection that is lost before the first event goes on from its start", LIMIT, async (context) => {
  const { settings, subscribed } = await fake(context, [], [
    (_, say, socket) => {
      say("next", position);
      setTimeout(() => socket.terminate(), 50);
    },
    (_, say) => say("complete"),
  ]);
  assert.deepEqual(await numbers(follow<{ n: number }>(settings, "a")), []);
  assert.deepEqual(subscribed[1]?.payload.extensions, { after: "c0" });
});

test("a socket is signed over its path", LIMIT, async (context) => {
  const { settings, subscribed } = await fake(context, [], [(_, say) => say("complete")]);
  await numbers(follow<{ n: number }>({ ...settings, sign: true }, "a"));
  const { timestamp, nonce, signature } = subscribed[0]?.init.signature ?? { timestamp: 0, nonce: "", signature: "" };
  const request = { method: "GET", pathAndQuery: "/ws", body: "" };
  assert.equal(signature, sign(settings.key(), request, timestamp, nonce));
});

test("a new key is taken when the old one ends", LIMIT, async (context) => {
  let key = "old";
  const { settings, subscribed } = await fake(context, [], [
    (subscription, say, socket) => {
      say("next", event(1));
      key = "new";
      refuseKey(subscription, say, socket);
    },
    (_, say) => {
      say("next", event(2));
      say("complete");
    },
  ]);
  assert.deepEqual(await numbers(follow<{ n: number }>({ ...settings, key: () => key }, "a")), [1, 2]);
  assert.deepEqual(subscribed.map(({ init, payload }) => [init.apiKey, payload.extensions.after]), [["old", undefined], ["new", "c1"]]);
});

test("a key that has ended without another ends the stream", LIMIT, async (context) => {
  const { settings, subscribed } = await fake(context, [], [refuseKey, (_, __, socket) => socket.close(4403, "Forbidden")]);
  const ended = numbers(follow<{ n: number }>(settings, "a"));
  await assert.rejects(ended, (error) => error instanceof Refused && error.isAboutTheKey);
  assert.equal(subscribed.length, 2);
});

test("an operation that is refused is told, or waited for", LIMIT, async (context) => {
  const { settings, subscribed, slept } = await fake(context, [], [
    refuse("RATE_LIMITED", { retryAfterSeconds: 7 }),
    refuse("OPERATION_NOT_FOUND"),
  ]);
  const ended = numbers(follow<{ n: number }>(settings, "a"));
  await assert.rejects(ended, (error) => error instanceof Refused && error.code === "OPERATION_NOT_FOUND");
  assert.deepEqual(slept.map(Math.floor), [7]);
  assert.equal(subscribed.length, 2);
});
