// Two people on clients of different make meet through the router. Needs a running stack: VELVET_ROUTER_URL.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";

import { ApolloClient, InMemoryCache } from "@apollo/client";
import { Client as UrqlClient, cacheExchange } from "@urql/core";
import { print } from "graphql";
import { type Client as SocketClient, createClient } from "graphql-ws";

import { apolloLink } from "../../src/apollo.js";
import {
  ConversationsDocument,
  DeckDocument,
  DeleteMessageDocument,
  EditMessageDocument,
  MarkReadDocument,
  MatchEventsDocument,
  type MatchEventsSubscription,
  MatchesDocument,
  MessageEventsDocument,
  type MessageEventsSubscription,
  MessagesDocument,
  ReactToMessageDocument,
  RequestFailed,
  SendMessageDocument,
  SetTypingDocument,
  SwipeDocument,
  TypingDocument,
} from "../../src/index.js";
import { urqlExchanges } from "../../src/urql.js";
import { take, until, within } from "../wait.js";
import { type Person, droppable, graphUrl, onTheStack, person, socketUrl, somewhere } from "./kit.js";

type MessageEvent = MessageEventsSubscription["messageEvents"];
type MatchEvent = MatchEventsSubscription["matchEvents"];

const MESSAGES = 50;

let alice: Person;
let bob: Person;
let apollo: ApolloClient;
let urql: UrqlClient;
let conversationId: string;
/** A cursor of each after the tenth message. */
let tenth: { alice: string; bob: string };
/** Positions and bodies of the chat, in order. */
let chat: string[];
const aliceStarted = new Set<string>();
const bobStarted = new Set<string>();

before(async () => {
  if (onTheStack.skip) return;
  const place = somewhere();
  [alice, bob] = await Promise.all([person("Alice", "PATRON", "FEMALE", place), person("Bob", "CREATOR", "MALE", place)]);
  apollo = new ApolloClient({
    cache: new InMemoryCache(),
    link: apolloLink(alice.live, alice.session, {
      onStarted: ({ operationName }) => void aliceStarted.add(operationName ?? ""),
    }),
  });
  urql = new UrqlClient({
    url: graphUrl,
    preferGetMethod: false,
    exchanges: [
      cacheExchange,
      ...urqlExchanges(bob.live, bob.session, {
        onStarted: ({ operationName }) => void bobStarted.add(operationName ?? ""),
      }),
    ],
  });
});

after(async () => {
  await Promise.all([alice?.live.dispose(), bob?.live.dispose()]);
});

/** Runs a mutation by urql and gives its data. */
async function bobDoes<T>(result: Promise<{ data?: T | undefined; error?: Error | undefined }>): Promise<T> {
  const { data, error } = await result;
  assert.equal(error, undefined);
  assert.ok(data);
  return data;
}

test("each is in the other's deck", onTheStack, async () => {
  const seesBob = async () => {
    const { data } = await apollo.query({ query: DeckDocument, variables: { first: 10 }, fetchPolicy: "no-cache" });
    return data?.deck.some(({ user }) => user.id === bob.id);
  };
  const seesAlice = async () => {
    const { deck } = await bobDoes(urql.query(DeckDocument, { first: 10 }, { requestPolicy: "network-only" }).toPromise());
    return deck.some(({ user }) => user.id === alice.id);
  };
  await Promise.all([until(seesBob, "Bob in Alice's deck"), until(seesAlice, "Alice in Bob's deck")]);
});

test("both like at one instant, and both see the one match live", onTheStack, async () => {
  const seen: { alice: MatchEvent[]; bob: MatchEvent[] } = { alice: [], bob: [] };
  const aliceSees = apollo
    .subscribe({ query: MatchEventsDocument, fetchPolicy: "no-cache" })
    .subscribe(({ data }) => data && seen.alice.push(data.matchEvents));
  const bobSees = urql
    .subscription(MatchEventsDocument, {})
    .subscribe(({ data }) => data && seen.bob.push(data.matchEvents));
  await until(() => aliceStarted.has("MatchEvents") && bobStarted.has("MatchEvents"), "the streams' start");

  const [first, second] = await Promise.all([
    apollo.mutate({ mutation: SwipeDocument, variables: { input: { userId: bob.id, action: "LIKE" } } }),
    bobDoes(urql.mutation(SwipeDocument, { input: { userId: alice.id, action: "LIKE" } }).toPromise()),
  ]);
  const swipes = [first.data?.swipe, second.swipe];
  assert.deepEqual(
    swipes.map((swipe) => swipe?.__typename),
    ["Swiped", "Swiped"],
  );
  assert.ok(swipes.some((swipe) => swipe?.__typename === "Swiped" && swipe.match), "one of the two completed it");

  await until(() => seen.alice.length > 0 && seen.bob.length > 0, "the match on both sides");
  const [hers] = seen.alice;
  const [his] = seen.bob;
  assert.ok(hers?.__typename === "MatchCreated" && his?.__typename === "MatchCreated");
  assert.equal(hers.match.id, his.match.id);
  assert.deepEqual([hers.match.with.displayName, his.match.with.displayName], ["Bob", "Alice"]);
  assert.ok(hers.match.conversation?.open, "the conversation is there");
  assert.equal(hers.match.conversation.id, his.match.conversation?.id);
  conversationId = hers.match.conversation.id;

  const { matches } = await alice.session.request(MatchesDocument, {});
  assert.deepEqual(
    matches.nodes.map(({ id }) => id),
    [hers.match.id],
  );
  assert.deepEqual([seen.alice.length, seen.bob.length], [1, 1]);
  aliceSees.unsubscribe();
  bobSees.unsubscribe();
});

/** Position and body of each message sent, as one device saw them. */
class Device {
  readonly seen: string[] = [];
  readonly cursors: string[] = [];

  take(event: MessageEvent | undefined): void {
    if (event?.__typename !== "MessageSent") return;
    this.seen.push(`${event.message.position} ${event.message.body}`);
    this.cursors.push(event.cursor ?? "");
  }
}

/** What a program does that has only graphql-ws: it keeps the cursor and sends it when it comes back. */
function plainDevice(device: Device, token: string, started: () => void) {
  const { webSocketImpl, drop } = droppable();
  const extensions: Record<string, unknown> = { position: true };
  const client: SocketClient = createClient({
    url: socketUrl,
    webSocketImpl,
    connectionParams: { authorization: `Bearer ${token}` },
    retryAttempts: 20,
    retryWait: async () => undefined,
    shouldRetry: () => true,
  });
  const unsubscribe = client.subscribe<MessageEventsSubscription, { cursor?: string; positioned?: boolean }>(
    { query: print(MessageEventsDocument), extensions },
    {
      next: ({ data, extensions: sent }) => {
        if (sent?.cursor) extensions.after = sent.cursor;
        if (sent?.positioned) return started();
        device.take(data?.messageEvents);
      },
      error: (error) => assert.fail(JSON.stringify(error)),
      complete: () => undefined,
    },
  );
  return {
    drop,
    stop: () => {
      unsubscribe();
      return client.dispose();
    },
  };
}

test(`${MESSAGES} messages reach three devices once each and in order, whatever sockets are lost`, onTheStack, async () => {
  const phone = new Device();
  const laptop = new Device();
  const tablet = new Device();
  const aliceSees = apollo
    .subscribe({ query: MessageEventsDocument, fetchPolicy: "no-cache" })
    .subscribe(({ data }) => phone.take(data?.messageEvents));
  const bobSees = urql
    .subscription(MessageEventsDocument, {})
    .subscribe(({ data }) => laptop.take(data?.messageEvents));
  let plainStarted = false;
  const plain = plainDevice(tablet, (await bob.session.accessToken()) ?? "", () => (plainStarted = true));
  await until(
    () => plainStarted && aliceStarted.has("MessageEvents") && bobStarted.has("MessageEvents"),
    "the streams' start",
  );

  const say = async ({ name, session }: Person, index: number) => {
    const input = { conversationId, clientId: randomUUID(), body: `${name} ${index}` };
    const { sendMessage } = await session.request(SendMessageDocument, { input });
    assert.equal(sendMessage.__typename, "MessageSent", JSON.stringify(sendMessage));
  };
  for (let index = 0; index < MESSAGES / 2; index += 1) {
    if (index === 10) alice.drop();
    if (index === 12) plain.drop();
    if (index === 14) bob.drop();
    await Promise.all([say(alice, index), say(bob, index)]);
  }
  const devices = [phone, laptop, tablet];
  await until(() => devices.every(({ seen }) => seen.length >= MESSAGES), "all messages on all devices", 30_000);

  const { conversation } = await alice.session.request(MessagesDocument, { conversationId, first: 100 });
  chat = conversation?.messages.nodes.map(({ position, body }) => `${position} ${body}`) ?? [];
  assert.equal(chat.length, MESSAGES);
  assert.deepEqual(
    chat.map((line) => Number(line.split(" ")[0])),
    chat.map((_, index) => Number(chat[0]?.split(" ")[0]) + index),
    "positions rise by one",
  );
  for (const { seen } of devices) assert.deepEqual(seen, chat);
  assert.ok(alice.opened() >= 2 && bob.opened() >= 2, "the sockets were lost indeed");
  tenth = { alice: phone.cursors[9] ?? "", bob: laptop.cursors[9] ?? "" };
  aliceSees.unsubscribe();
  bobSees.unsubscribe();
  await plain.stop();
});

test("a cursor replays exactly what was missed", onTheStack, async () => {
  const device = new Device();
  const stream = alice.live.subscribe(MessageEventsDocument, {}, { after: tenth.alice });
  for (const { data } of await take(stream, MESSAGES - 10, "the messages after the tenth")) device.take(data?.messageEvents);
  await stream.return();
  assert.deepEqual(device.seen, chat.slice(10));
});

test("a cursor that is forged or another's is refused", onTheStack, async () => {
  const middle = Math.floor(tenth.alice.length / 2);
  const other = tenth.alice[middle] === "A" ? "B" : "A";
  const forged = `${tenth.alice.slice(0, middle)}${other}${tenth.alice.slice(middle + 1)}`;
  for (const after of ["forged", forged, tenth.bob]) {
    const stream = alice.live.subscribe(MessageEventsDocument, {}, { after });
    const refused = within(stream.next(), "the refusal");
    await assert.rejects(refused, (error) => error instanceof RequestFailed && error.code === "INVALID_ARGUMENT", after);
  }
});

test("a new token goes to the live socket, which lives on", onTheStack, async () => {
  const stream = bob.live.subscribe(MessageEventsDocument, {});
  await within(stream.started, "the stream's start");
  const sockets = bob.opened();
  const old = (await bob.session.accessToken()) ?? "";
  assert.notEqual(await bob.session.renew(old), old);
  const input = { conversationId, clientId: randomUUID(), body: "still there?" };
  await alice.session.request(SendMessageDocument, { input });
  const [event] = await take(stream, 1, "the message");
  assert.ok(event?.data?.messageEvents.__typename === "MessageSent");
  assert.equal(event.data.messageEvents.message.body, "still there?");
  assert.equal(bob.opened(), sockets);
  await stream.return();
});

test("an edit, a reaction, a read mark and a deletion arrive live", onTheStack, async () => {
  const stream = alice.live.subscribe(MessageEventsDocument, {});
  await within(stream.started, "the stream's start");
  const input = { conversationId, clientId: randomUUID(), body: "helo" };
  const { sendMessage } = await bobDoes(urql.mutation(SendMessageDocument, { input }).toPromise());
  assert.ok(sendMessage.__typename === "MessageSent");
  const { id: messageId, position } = sendMessage.message;
  await bobDoes(urql.mutation(EditMessageDocument, { input: { messageId, body: "hello" } }).toPromise());
  await apollo.mutate({ mutation: ReactToMessageDocument, variables: { input: { messageId, emoji: "❤️" } } });
  await apollo.mutate({ mutation: MarkReadDocument, variables: { input: { conversationId, position } } });
  await bobDoes(urql.mutation(DeleteMessageDocument, { input: { messageId } }).toPromise());
  const events = (await take(stream, 5, "the events")).map(({ data }) => data?.messageEvents);
  assert.deepEqual(
    events.map((event) => event?.__typename),
    ["MessageSent", "MessageEdited", "MessageReacted", "ReadMarked", "MessageDeleted"],
  );
  const [, edited, reacted, read] = events;
  assert.ok(edited?.__typename === "MessageEdited" && edited.message.id === messageId);
  assert.ok(reacted?.__typename === "MessageReacted" && reacted.message.id === messageId);
  assert.ok(read?.__typename === "ReadMarked" && read.userId === alice.id && read.position === position);
  await stream.return();

  const { conversations } = await alice.session.request(ConversationsDocument, {});
  assert.equal(conversations.nodes.find(({ id }) => id === conversationId)?.unreadCount, 0);
});

test("typing is seen by the other", onTheStack, async () => {
  const stream = alice.live.subscribe(TypingDocument, { conversationId });
  let seen = false;
  const event = within(stream.next(), "the typing").finally(() => (seen = true));
  // Typing is not kept, so its stream has no stated start: type until it is seen.
  await until(async () => {
    await bob.session.request(SetTypingDocument, { input: { conversationId, typing: true } });
    return seen;
  }, "the typing");
  const { value } = await event;
  assert.deepEqual([value?.data?.typing.user.id, value?.data?.typing.typing], [bob.id, true]);
  await stream.return();
});
