// The router's other transports, with the clients that people have. Needs a running stack: VELVET_ROUTER_URL.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from "@apollo/client";
import { CombinedGraphQLErrors } from "@apollo/client/errors";
import { print } from "graphql";
import { type Client, type ExecutionResult, createClient } from "graphql-sse";
import { tap } from "rxjs";

import {
  MatchEventsDocument,
  type MatchEventsSubscription,
  MatchesDocument,
  SwipeDocument,
} from "../../src/index.js";
import { take, until, within } from "../wait.js";
import { type Person, graphUrl, onTheStack, person, somewhere } from "./kit.js";

type Positioned = { cursor?: string; positioned?: boolean };
type MatchEvent = ExecutionResult<MatchEventsSubscription, Positioned>;

let alice: Person;
let bob: Person;
/** What must not outlive a test, whatever becomes of it. */
const closing: (() => void)[] = [];

before(async () => {
  if (onTheStack.skip) return;
  const place = somewhere();
  [alice, bob] = await Promise.all([person("Alice", "PATRON", "FEMALE", place), person("Bob", "CREATOR", "MALE", place)]);
});

after(async () => {
  for (const close of closing) close();
  await Promise.all([alice?.live.dispose(), bob?.live.dispose()]);
});

/** graphql-sse as it comes. */
function sseOf(headers: Record<string, string>): Client {
  const sse = createClient({ url: graphUrl, headers, retryAttempts: 0 });
  closing.push(() => sse.dispose());
  return sse;
}

const bearer = async ({ session }: Person) => ({ authorization: `Bearer ${await session.accessToken()}` });

/** Apollo Client as it comes. It passes over a result without data, such as the one that says where a stream starts. */
async function apolloOf(who: Person, started = () => {}): Promise<ApolloClient> {
  const http = new HttpLink({ uri: graphUrl, headers: await bearer(who) });
  const look = new ApolloLink((operation, forward) =>
    forward(operation).pipe(tap(({ extensions }) => void (extensions?.positioned === true && started()))),
  );
  return new ApolloClient({ cache: new InMemoryCache(), link: look.concat(http) });
}

test("Apollo Client's multipart and graphql-sse both hear of the match", onTheStack, async () => {
  let aliceStarted = false;
  const apollo = await apolloOf(alice, () => (aliceStarted = true));
  const sse = sseOf(await bearer(bob));
  const heard: MatchEventsSubscription["matchEvents"][] = [];
  const aliceHears = apollo
    .subscribe({ query: MatchEventsDocument, fetchPolicy: "no-cache", extensions: { position: true } })
    .subscribe({
      next: ({ data }) => void (data?.matchEvents && heard.push(data.matchEvents)),
      error: (error) => assert.fail(String(error)),
    });
  closing.push(() => aliceHears.unsubscribe());
  const query = print(MatchEventsDocument);
  const bobHears = sse.iterate<MatchEventsSubscription, Positioned>({ query, extensions: { position: true } });
  const [started] = await take(bobHears as AsyncIterator<MatchEvent>, 1, "Bob's stream");
  assert.equal(started?.extensions?.positioned, true);
  await until(() => aliceStarted, "Alice's stream");

  await alice.session.request(SwipeDocument, { input: { userId: bob.id, action: "LIKE" } });
  await bob.session.request(SwipeDocument, { input: { userId: alice.id, action: "LIKE" } });
  const [event] = await take(bobHears as AsyncIterator<MatchEvent>, 1, "Bob's match");
  const his = event?.data?.matchEvents;
  assert.ok(his?.__typename === "MatchCreated");
  assert.equal(his.match.with.displayName, "Alice");
  await until(() => heard.length > 0, "Alice's match");
  const [hers] = heard;
  assert.ok(hers?.__typename === "MatchCreated");
  assert.deepEqual([hers.match.id, hers.match.with.displayName], [his.match.id, "Bob"]);

  // Where Bob's stream began: what came since comes again.
  const again = sse.iterate<MatchEventsSubscription, Positioned>({
    query,
    extensions: { after: started?.extensions?.cursor },
  });
  const [repeated] = await take(again as AsyncIterator<MatchEvent>, 1, "the match once more");
  assert.deepEqual(repeated, event);
  await Promise.all([bobHears.return?.(), again.return?.()]);
  aliceHears.unsubscribe();
});

test("a client that comes back with the last id has missed nothing", onTheStack, async () => {
  const headers = { ...(await bearer(alice)), accept: "text/event-stream", "content-type": "application/json" };
  const body = JSON.stringify({ query: print(MatchEventsDocument), extensions: { position: true } });
  const response = await fetch(graphUrl, { method: "POST", headers, body });
  assert.equal(response.headers.get("content-type"), "text/event-stream; charset=utf-8");
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  await until(async () => {
    text += (await reader?.read())?.value ?? "";
    return text.includes("\n\nevent: next\n") || text.startsWith("event: next\n");
  }, "the stream's start");
  await reader?.cancel();
  const last = /^id: (.+)$/m.exec(text)?.[1];
  assert.ok(last, text);

  const sse = sseOf({ ...(await bearer(alice)), "last-event-id": last });
  const stream = sse.iterate<MatchEventsSubscription, Positioned>({ query: print(MatchEventsDocument) });
  const event = within(stream.next(), "the block's end of the match");
  const { data } = await (await apolloOf(alice)).query({ query: MatchesDocument, variables: {}, fetchPolicy: "no-cache" });
  const matchId = data?.matches.nodes[0]?.id;
  assert.ok(matchId);
  const unmatch = `mutation($input: UnmatchInput!) { unmatch(input: $input) { __typename } }`;
  await fetch(graphUrl, {
    method: "POST",
    headers: { ...(await bearer(bob)), "content-type": "application/json" },
    body: JSON.stringify({ query: unmatch, variables: { input: { matchId } } }),
  });
  const ended = (await event).value?.data?.matchEvents;
  assert.ok(ended?.__typename === "MatchEnded" && ended.matchId === matchId);
  await stream.return?.();
});

test("queries come over graphql-sse, and what is refused says why on both", onTheStack, async () => {
  const sse = sseOf(await bearer(alice));
  const query = sse.iterate<{ __typename: string }>({ query: "{ __typename }" });
  assert.deepEqual((await within(query.next(), "the answer")).value, { data: { __typename: "Query" } });
  assert.equal((await within(query.next(), "the end")).done, true);
  const forged = { query: print(MatchEventsDocument), extensions: { after: "forged" } };
  const refused = sse.iterate(forged);
  const { value } = await within(refused.next(), "the refusal");
  assert.equal(value?.errors?.[0]?.extensions?.code, "INVALID_ARGUMENT");

  const apollo = await apolloOf(alice);
  const error = await within(
    new Promise<unknown>((resolve) => {
      apollo
        .subscribe({ query: MatchEventsDocument, fetchPolicy: "no-cache", extensions: { after: "forged" } })
        .subscribe({ next: ({ error }) => error && resolve(error), error: resolve });
    }),
    "the refusal",
  );
  assert.ok(CombinedGraphQLErrors.is(error), String(error));
  assert.equal(error.errors[0]?.extensions?.code, "INVALID_ARGUMENT");
});
