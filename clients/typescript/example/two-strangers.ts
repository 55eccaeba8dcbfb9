// Two strangers meet: sign up, like each other, match and chat, live. One loses the connection and misses nothing.
//
//   npm run example -- http://127.0.0.1:4000
import { randomInt, randomUUID } from "node:crypto";

import WebSocket from "ws";

import {
  DeckDocument,
  type Gender,
  type Live,
  MatchEventsDocument,
  MessageEventsDocument,
  SendMessageDocument,
  type Session,
  SetLocationDocument,
  type Side,
  SwipeDocument,
  createLive,
  createSession,
} from "../src/index.js";

const router = process.argv[2] ?? "http://127.0.0.1:4000";
const url = new URL("/graphql", router).href;
const socketUrl = new URL("/ws", router).href.replace("http", "ws");

const started = Date.now();
const tell = (line: string) => console.log(`${((Date.now() - started) / 1000).toFixed(2).padStart(6)} s  ${line}`);

interface Stranger {
  name: string;
  id: string;
  session: Session;
  live: Live;
  loseConnection: () => void;
}

async function signUp(name: string, side: Side, gender: Gender, place: { latitude: number; longitude: number }): Promise<Stranger> {
  const session = createSession({ url });
  const email = `${name.toLowerCase()}-${randomUUID()}@example.org`;
  const answer = await session.register({
    email,
    password: randomUUID(),
    displayName: name,
    birthDate: "1995-05-17",
    gender,
    side,
    idempotencyKey: randomUUID(),
  });
  if (answer.__typename !== "Session") throw new Error(`${name} could not sign up: ${answer.reason}`);
  await session.request(SetLocationDocument, { input: place });
  tell(`${name} signs up as ${email}`);

  let socket: WebSocket | undefined;
  class Cuttable extends WebSocket {
    constructor(address: string, protocol: string) {
      super(address, protocol);
      socket = this;
    }
  }
  const live = createLive({ url: socketUrl, session, webSocketImpl: Cuttable });
  return { name, id: answer.account.user.id, session, live, loseConnection: () => socket?.terminate() };
}

async function like(who: Stranger, whom: Stranger): Promise<void> {
  const { swipe } = await who.session.request(SwipeDocument, { input: { userId: whom.id, action: "LIKE" } });
  if (swipe.__typename !== "Swiped") throw new Error(`${who.name} could not swipe: ${swipe.reason}`);
  tell(`${who.name} likes ${whom.name}${swipe.match ? ": it is a match" : ""}`);
}

async function say(who: Stranger, conversationId: string, body: string): Promise<void> {
  const { sendMessage } = await who.session.request(SendMessageDocument, {
    input: { conversationId, clientId: randomUUID(), body },
  });
  if (sendMessage.__typename !== "MessageSent") throw new Error(`${who.name} could not write: ${sendMessage.reason}`);
}

/** Reads messages until there are `count`. */
async function listen(who: Stranger, count: number): Promise<() => Promise<string[]>> {
  const stream = who.live.subscribe(MessageEventsDocument, {});
  const heard = (async () => {
    const bodies: string[] = [];
    for await (const { data } of stream) {
      if (data?.messageEvents.__typename !== "MessageSent") continue;
      const { position, sender, body } = data.messageEvents.message;
      tell(`    ${who.name} sees ${position}. ${sender.displayName}: ${body}`);
      if (bodies.push(body) === count) break;
    }
    return bodies;
  })();
  await stream.started;
  return () => heard;
}

async function matched(who: Stranger): Promise<() => Promise<string>> {
  const stream = who.live.subscribe(MatchEventsDocument, {});
  const conversation = (async () => {
    for await (const { data } of stream) {
      if (data?.matchEvents.__typename !== "MatchCreated") continue;
      const { match } = data.matchEvents;
      tell(`    ${who.name} sees the match with ${match.with.displayName}`);
      if (match.conversation) return match.conversation.id;
    }
    throw new Error("no match");
  })();
  await stream.started;
  return () => conversation;
}

const place = { latitude: -45 + randomInt(1_000) / 100, longitude: -130 + randomInt(3_000) / 100 };
const alice = await signUp("Alice", "PATRON", "FEMALE", place);
const bob = await signUp("Bob", "CREATOR", "MALE", place);

const { deck } = await alice.session.request(DeckDocument, { first: 10 });
tell(`Alice's deck: ${deck.map(({ user, distanceKm }) => `${user.displayName} (${user.age}, ${distanceKm} km)`).join(", ") || "empty"}`);

const matches = await Promise.all([matched(alice), matched(bob)]);
await Promise.all([like(alice, bob), like(bob, alice)]);
const [conversationId] = await Promise.all(matches.map((match) => match()));
if (conversationId === undefined) throw new Error("no conversation");

const lines: [Stranger, string][] = [
  [alice, "Hello stranger"],
  [bob, "Hello! What brings you to the middle of the sea?"],
  [alice, "The fish. And you?"],
  [bob, "I lost my way"],
  [bob, "Are you still there?"],
  [alice, "Always was"],
];
const heard = await Promise.all([listen(alice, lines.length), listen(bob, lines.length)]);
for (const [index, [who, body]] of lines.entries()) {
  if (index === 3) {
    alice.loseConnection();
    tell("Alice enters a tunnel: her socket is gone");
  }
  await say(who, conversationId, body);
}
const [aliceHeard, bobHeard] = await Promise.all(heard.map((bodies) => bodies()));
const same = JSON.stringify(aliceHeard) === JSON.stringify(bobHeard) && aliceHeard?.length === lines.length;
tell(same ? "Both hold the same messages, once each, in the same order" : "They do not hold the same messages");
await Promise.all([alice.live.dispose(), bob.live.dispose()]);
process.exitCode = same ? 0 : 1;
