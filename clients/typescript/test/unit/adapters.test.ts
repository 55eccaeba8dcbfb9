import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { ApolloClient, InMemoryCache } from "@apollo/client";
import { Client } from "@urql/core";
import WebSocket from "ws";

import { apolloLink } from "../../src/apollo.js";
import {
  type Live,
  MatchEventsDocument,
  type MatchEventsSubscription,
  MeDocument,
  type Session,
  createLive,
  createSession,
} from "../../src/index.js";
import { urqlExchanges } from "../../src/urql.js";
import { until } from "../wait.js";
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

function body(data: MatchEventsSubscription | null | undefined): string {
  return data?.matchEvents.__typename === "MatchEnded" ? data.matchEvents.matchId : String(data?.matchEvents.__typename);
}

async function story(received: string[], resets: string[]): Promise<void> {
  await until(() => [...graph.connections][0]?.operations.size === 1, "the subscription");
  graph.publish("a");
  graph.terminate();
  graph.publish("b", "c");
  await until(() => received.length === 3, "three events");
  graph.terminate();
  graph.publish("lost");
  graph.oldest = 4;
  await until(() => resets.length === 1, "the reset");
  graph.publish("d");
  await until(() => received.length === 4, "four events");
  assert.deepEqual(received, ["a", "b", "c", "d"]);
  assert.deepEqual(resets, ["too old"]);
}

test("Apollo Client asks with the session's token and resumes by cursor", async () => {
  const received: string[] = [];
  const resets: string[] = [];
  const client = new ApolloClient({
    cache: new InMemoryCache(),
    link: apolloLink(live, session, { onReset: ({ reason }) => void resets.push(reason) }),
  });
  graph.valid.clear();
  const { data } = await client.query({ query: MeDocument, fetchPolicy: "no-cache" });
  assert.equal(data?.me?.email, "alice@example.org");
  const subscription = client
    .subscribe({ query: MatchEventsDocument, fetchPolicy: "no-cache" })
    .subscribe(({ data }) => received.push(body(data as MatchEventsSubscription)));
  await story(received, resets);
  subscription.unsubscribe();
  await until(() => graph.connections.size === 0, "the socket's end");
});

test("urql asks with the session's token and resumes by cursor", async () => {
  const received: string[] = [];
  const resets: string[] = [];
  const client = new Client({
    url: graph.url,
    preferGetMethod: false,
    exchanges: urqlExchanges(live, session, { onReset: ({ reason }) => void resets.push(reason) }),
  });
  graph.valid.clear();
  const { data, error } = await client.query(MeDocument, {}).toPromise();
  assert.equal(error, undefined);
  assert.equal(data?.me.email, "alice@example.org");
  const subscription = client.subscription(MatchEventsDocument, {}).subscribe(({ data }) => {
    if (data) received.push(body(data));
  });
  await story(received, resets);
  subscription.unsubscribe();
  await until(() => graph.connections.size === 0, "the socket's end");
});
