import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import WebSocket from "ws";

import {
  type Live,
  type LiveEvent,
  MatchEventsDocument,
  type MatchEventsSubscription,
  RequestFailed,
  type Session,
  SignedOut,
  SocketRefused,
  type StreamOptions,
  createLive,
  createSession,
} from "../../src/index.js";
import { take, until, within } from "../wait.js";
import { FakeGraph } from "./fake.js";

let graph: FakeGraph;
let session: Session;
let live: Live;
beforeEach(async () => {
  graph = await FakeGraph.start();
  session = createSession({ url: graph.url });
  live = createLive({ url: graph.wsUrl, session, webSocketImpl: WebSocket, retryDelayMs: () => 1 });
  await session.login({ email: "alice@example.org", password: "correct horse" });
});
afterEach(async () => {
  await live.dispose();
  await graph.stop();
});

const subscribe = (options?: StreamOptions) => live.subscribe(MatchEventsDocument, {}, options);

function body({ data }: LiveEvent<MatchEventsSubscription>): string | undefined {
  return data?.matchEvents.__typename === "MatchEnded" ? data.matchEvents.matchId : data?.matchEvents.__typename;
}

async function bodies(stream: ReturnType<typeof subscribe>, count: number): Promise<unknown[]> {
  return (await take(stream, count, "events")).map(body);
}

async function started(options?: StreamOptions): Promise<ReturnType<typeof subscribe>> {
  const stream = subscribe(options);
  await within(stream.started, "the stream's start");
  return stream;
}

/** The stream ends with what this returns. */
async function failure(stream: ReturnType<typeof subscribe>): Promise<unknown> {
  return within(
    stream.next().then(
      () => assert.fail("an event"),
      (error: unknown) => error,
    ),
    "the stream's failure",
  );
}

test("the first subscribe asks for the position, which is no event", async () => {
  graph.publish("before");
  const stream = await started();
  assert.deepEqual(graph.subscribes, [{ position: true }]);
  assert.equal(stream.cursor, "1");
  graph.publish("a");
  const [event] = await take(stream, 1, "events");
  assert.equal(event?.cursor, "2");
  assert.equal(body(event as LiveEvent<MatchEventsSubscription>), "a");
});

test("what comes while there is no socket and before any event is not lost", async () => {
  const stream = await started();
  graph.terminate();
  graph.publish("a", "b");
  assert.deepEqual(await bodies(stream, 2), ["a", "b"]);
  assert.deepEqual(graph.subscribes, [{ position: true }, { after: "0" }]);
});

test("a thousand events across twenty lost sockets come once each and in order", async () => {
  const stream = await started();
  const sent = Array.from({ length: 1_000 }, (_, index) => `event ${index}`);
  const received = bodies(stream, sent.length);
  for (const [index, event] of sent.entries()) {
    graph.publish(event);
    if (index % 50 === 25) {
      const sockets = graph.inits.length;
      graph.terminate();
      // The loss falls into a busy time: events go on while it is being noticed, and while there is no socket.
      if (index % 100 === 25) await until(() => graph.inits.length > sockets, "the socket's return");
    }
  }
  assert.deepEqual(await received, sent);
  assert.ok(graph.inits.length > 10);
});

test("a stream goes on after a cursor that was kept", async () => {
  graph.publish("a", "b", "c");
  assert.deepEqual(await bodies(await started({ after: "1" }), 2), ["b", "c"]);
  assert.deepEqual(graph.subscribes, [{ after: "1" }]);
});

test("streams share a socket and come back together", async () => {
  const streams = await Promise.all([started(), started(), started()]);
  assert.equal(graph.connections.size, 1);
  graph.terminate();
  graph.publish("a");
  for (const stream of streams) assert.deepEqual(await bodies(stream, 1), ["a"]);
  assert.equal(graph.inits.length, 2);
});

test("a reset is handed over in its place, and the stream goes on after it", async () => {
  const order: unknown[] = [];
  const stream = await started({ onReset: ({ field, reason, cursor }) => void order.push(field, reason, cursor) });
  graph.publish("a");
  order.push(...(await bodies(stream, 1)));
  graph.terminate();
  graph.publish("lost", "too");
  graph.oldest = 3;
  await until(() => graph.subscribes.length === 2, "the return");
  await until(() => stream.cursor === "3", "the reset");
  graph.publish("b");
  order.push(...(await bodies(stream, 1)));
  assert.deepEqual(order, ["a", "matchEvents", "too old", "3", "b"]);
});

test("without onReset a reset is an event", async () => {
  graph.publish("a", "b");
  graph.oldest = 2;
  assert.deepEqual(await bodies(subscribe({ after: "1" }), 1), ["StreamReset"]);
});

test("a token is renewed on the live socket before it ends", async () => {
  graph.lifetimeMs = 1_000;
  await session.renew((await session.accessToken()) ?? "");
  const stream = await started();
  graph.lifetimeMs = 900_000;
  await until(() => graph.renewals.length === 1, "the ping");
  assert.equal(graph.renewals[0], `Bearer ${await session.accessToken()}`);
  assert.equal(graph.inits.length, 1, "the same socket");
  graph.publish("a");
  assert.deepEqual(await bodies(stream, 1), ["a"]);
});

test("a token that a request renewed is shown to the live socket too", async () => {
  await started();
  const renewed = await session.renew((await session.accessToken()) ?? "");
  await until(() => graph.renewals.length === 1, "the ping");
  assert.equal(graph.renewals[0], `Bearer ${renewed}`);
});

test("an expired token is replaced, and nothing is lost", async () => {
  const stream = await started();
  graph.publish("a");
  assert.deepEqual(await bodies(stream, 1), ["a"]);
  graph.valid.clear();
  graph.expire();
  graph.publish("b");
  assert.deepEqual(await bodies(stream, 1), ["b"]);
  assert.equal(graph.refreshes, 1);
});

for (const code of [4401, 4403]) {
  test(`${code} refreshes the session, then comes back`, async () => {
    graph.refuse.push(code);
    const stream = await started();
    graph.close(code);
    graph.publish("a");
    assert.deepEqual(await bodies(stream, 1), ["a"]);
    assert.equal(graph.refreshes, 2);
  });
}

for (const code of [1001, 1011, 1012, 1013, 4008, 4408, 4429, 4499, 4500]) {
  test(`${code} comes back`, async () => {
    const stream = await started();
    graph.close(code);
    graph.refuse.push(code);
    graph.publish("a");
    assert.deepEqual(await bodies(stream, 1), ["a"]);
    assert.equal(graph.refreshes, 0);
  });
}

for (const code of [1009, 4400, 4406, 4409]) {
  test(`${code} is for good`, async () => {
    graph.refuseSubscribe.push(code);
    const error = await failure(subscribe());
    assert.ok(error instanceof SocketRefused);
    assert.equal(error.closeCode, code);
    assert.equal(graph.inits.length, 1);
    assert.ok(await started(), "a later stream is another matter");
  });
}

test("a viewer whom the server never lets in gives up", async () => {
  graph.refuse.push(4403, 4403, 4403, 4403);
  assert.ok((await failure(subscribe())) instanceof SocketRefused);
  assert.equal(graph.inits.length, 3);
});

for (const by of ["error", "next"] as const) {
  test(`refused by ${by}: a passing failure is tried again, a lasting one is not`, async () => {
    graph.failSubscribe.push({ code: "UNAVAILABLE", by }, { code: "UNAUTHENTICATED", by });
    const stream = await started();
    assert.equal(graph.refreshes, 1);
    graph.publish("a");
    assert.deepEqual(await bodies(stream, 1), ["a"]);
    graph.failSubscribe.push({ code: "INVALID_ARGUMENT", by });
    const error = await failure(subscribe({ after: "forged" }));
    assert.ok(error instanceof RequestFailed);
    assert.equal(error.code, "INVALID_ARGUMENT");
    const { length } = graph.subscribes;
    graph.failSubscribe.push(...Array.from({ length: 9 }, () => ({ code: "UNAUTHENTICATED", by })));
    const refused = await failure(subscribe());
    assert.ok(refused instanceof RequestFailed && refused.code === "UNAUTHENTICATED");
    assert.equal(graph.subscribes.length - length, 3);
  });
}

test("a socket that shows no life is given up", async () => {
  const wary = createLive({ url: graph.wsUrl, session, webSocketImpl: WebSocket, retryDelayMs: () => 1, pingEveryMs: 200 });
  const stream = wary.subscribe(MatchEventsDocument, {});
  await within(stream.started, "the stream's start");
  graph.freeze();
  graph.publish("a");
  assert.deepEqual(await bodies(stream, 1), ["a"]);
  assert.equal(graph.inits.length, 2);
  await wary.dispose();
});

test("a server that comes late is waited for", async () => {
  let tries = 0;
  class Unreachable extends WebSocket {
    constructor(url: string, protocol: string) {
      tries += 1;
      super(tries < 5 ? "ws://127.0.0.1:1/ws" : url, protocol);
    }
  }
  const patient = createLive({ url: graph.wsUrl, session, webSocketImpl: Unreachable, retryDelayMs: () => 1 });
  await within(patient.subscribe(MatchEventsDocument, {}).started, "the stream's start");
  assert.equal(tries, 5);
  await patient.dispose();
});

test("signing out ends the streams, and the socket", async () => {
  const stream = await started();
  await session.logout();
  const error = await failure(stream);
  assert.ok(error instanceof SignedOut);
  assert.equal(error.reason, "logout");
  await until(() => graph.connections.size === 0, "the socket's end");
  assert.ok((await failure(subscribe())) instanceof SignedOut);
});

test("who signs in next never gets the socket of who was there before", async () => {
  await started();
  await session.login({ email: "bob@example.org", password: "correct horse" });
  await started();
  assert.equal(graph.inits.length, 2);
  assert.equal(graph.inits[1], `Bearer ${await session.accessToken()}`);
  assert.deepEqual(graph.subscribes.at(-1), { position: true });
});

test("a refused refresh ends the streams", async () => {
  const stream = await started();
  graph.revoke();
  graph.expire();
  assert.ok((await failure(stream)) instanceof SignedOut);
});

test("a reader who is slow leaves the rest on the server and still gets all", async () => {
  const stream = await started({ bufferMax: 10 });
  const sent = Array.from({ length: 100 }, (_, index) => `event ${index}`);
  graph.publish(...sent);
  await until(() => [...graph.connections][0]?.operations.size === 0, "the stream's pause");
  assert.equal(stream.cursor, "10");
  assert.deepEqual(await bodies(stream, sent.length), sent);
});

test("leaving the loop unsubscribes, and the idle socket closes", async () => {
  const stream = await started();
  graph.publish("a");
  for await (const event of stream) {
    assert.equal(body(event), "a");
    break;
  }
  await until(() => graph.connections.size === 0, "the socket's end");
});

test("a signal ends the stream", async () => {
  const abort = new AbortController();
  const stream = await started({ signal: abort.signal });
  abort.abort();
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});
