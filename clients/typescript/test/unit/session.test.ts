import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { MeDocument, RequestFailed, type Session, createSession, memoryStorage } from "../../src/index.js";
import { until, within } from "../wait.js";
import { FakeGraph } from "./fake.js";

let graph: FakeGraph;
beforeEach(async () => {
  graph = await FakeGraph.start();
});
afterEach(() => graph.stop());

async function signedIn(options: { storage?: ReturnType<typeof memoryStorage> } = {}): Promise<Session> {
  const session = createSession({ url: graph.url, ...options });
  const answer = await session.login({ email: "alice@example.org", password: "correct horse" });
  assert.equal(answer.__typename, "Session");
  return session;
}

test("requests carry the access token", async () => {
  const session = await signedIn();
  const { me } = await session.request(MeDocument, {});
  assert.equal(me.email, "alice@example.org");
  assert.equal(graph.refreshes, 0);
});

test("fifty refused requests at once make one refresh, and all succeed", async () => {
  const session = await signedIn();
  graph.valid.clear();
  const answers = await Promise.all(Array.from({ length: 50 }, () => session.request(MeDocument, {})));
  assert.equal(answers.length, 50);
  assert.equal(graph.refreshes, 1);
});

test("a refused request is repeated once only", async () => {
  const session = await signedIn();
  const refused = session.request(MeDocument, {});
  await refused;
  graph.valid.clear();
  graph.valid.add = () => graph.valid;
  await assert.rejects(session.request(MeDocument, {}), (error: RequestFailed) => error.code === "UNAUTHENTICATED");
  assert.deepEqual(graph.operations, ["Login", "Me", "Me", "Refresh", "Me"]);
});

test("a token near its end is replaced before it is used", async () => {
  graph.lifetimeMs = 1_000;
  const session = await signedIn();
  const first = await session.accessToken();
  graph.lifetimeMs = 900_000;
  await until(async () => (await session.accessToken()) !== first, "a new token");
  assert.equal(graph.refreshes, 1);
  assert.ok(!graph.operations.includes("Me"));
});

test("a refresh whose answer is lost is asked once more", async () => {
  const session = await signedIn();
  graph.valid.clear();
  graph.loseAnswers = 1;
  await session.request(MeDocument, {});
  assert.equal(graph.refreshes, 2);
});

test("while the server cannot be reached the session stays", async () => {
  const session = await signedIn();
  let over = false;
  session.on("signedOut", () => (over = true));
  graph.valid.clear();
  graph.loseAnswers = 2;
  await assert.rejects(session.request(MeDocument, {}), TypeError);
  assert.equal(over, false);
  assert.notEqual(await session.accessToken(), null);
});

test("a refused refresh signs out", async () => {
  const session = await signedIn();
  const signedOut = new Promise((resolve) => session.on("signedOut", resolve));
  graph.revoke();
  await assert.rejects(session.request(MeDocument, {}), RequestFailed);
  assert.equal(await within(signedOut, "signedOut"), "refused");
  assert.equal(await session.accessToken(), null);
});

test("two tabs with one storage rotate in turn", async () => {
  const storage = memoryStorage();
  const one = await signedIn({ storage });
  const other = createSession({ url: graph.url, storage });
  await other.request(MeDocument, {});
  graph.valid.clear();
  await one.request(MeDocument, {});
  await other.request(MeDocument, {});
  assert.equal(graph.refreshes, 1, "the other tab took what the first had got");
  assert.equal(await one.accessToken(), await other.accessToken());
});

test("two tabs that rotate at one instant both stay signed in", async () => {
  const storage = memoryStorage();
  const one = await signedIn({ storage });
  const other = createSession({ url: graph.url, storage });
  await other.request(MeDocument, {});
  graph.valid.clear();
  await Promise.all([one.request(MeDocument, {}), other.request(MeDocument, {})]);
  assert.equal(graph.refreshes, 2, "the second by the server's grace");
  for (const tab of [one, other, createSession({ url: graph.url, storage })]) {
    graph.valid.delete((await tab.accessToken()) ?? "");
    await tab.request(MeDocument, {});
  }
});

test("signing out in one tab signs out the other at its next refresh", async () => {
  const storage = memoryStorage();
  const one = await signedIn({ storage });
  const other = createSession({ url: graph.url, storage });
  await other.request(MeDocument, {});
  const signedOut = new Promise((resolve) => other.on("signedOut", resolve));
  await one.logout();
  graph.valid.clear();
  await assert.rejects(other.request(MeDocument, {}), RequestFailed);
  assert.equal(await within(signedOut, "signedOut"), "elsewhere");
});

test("a session outlives its program", async () => {
  const storage = memoryStorage();
  await signedIn({ storage });
  const later = createSession({ url: graph.url, storage });
  assert.equal((await later.request(MeDocument, {})).me.email, "alice@example.org");
});

test("logout tells the server and forgets the tokens", async () => {
  const session = await signedIn();
  await session.logout();
  assert.equal(graph.operations.at(-1), "Logout");
  await assert.rejects(session.request(MeDocument, {}), RequestFailed);
});
