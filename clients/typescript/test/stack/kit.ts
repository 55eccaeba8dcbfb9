// People of the tests against a running stack.
import assert from "node:assert/strict";
import { randomInt, randomUUID } from "node:crypto";

import WebSocket from "ws";

import {
  type Gender,
  type Live,
  type RegisterInput,
  type Session,
  SetLocationDocument,
  type Side,
  UpdateProfileDocument,
  createLive,
  createSession,
} from "../../src/index.js";
import { until } from "../wait.js";

const router = process.env.VELVET_ROUTER_URL;

/** For `test`: skips, and says why, when there is no stack to test against. */
export const onTheStack = { skip: router === undefined && "VELVET_ROUTER_URL is not set", timeout: 120_000 };

export const graphUrl = new URL("/graphql", router ?? "http://127.0.0.1").href;
export const socketUrl = new URL("/ws", graphUrl).href.replace("http", "ws");

/** A WebSocket class whose sockets can be cut as if the network went. */
export function droppable(): { webSocketImpl: unknown; opened: () => number; drop: () => void } {
  const sockets: WebSocket[] = [];
  class Droppable extends WebSocket {
    constructor(url: string, protocol: string) {
      super(url, protocol);
      sockets.push(this);
    }
  }
  return { webSocketImpl: Droppable, opened: () => sockets.length, drop: () => sockets.at(-1)?.terminate() };
}

export interface Person {
  id: string;
  name: string;
  session: Session;
  live: Live;
  opened: () => number;
  drop: () => void;
}

/** A place at sea where nobody else is. */
export function somewhere(): { latitude: number; longitude: number } {
  return { latitude: -45 + randomInt(1_000) / 100, longitude: -130 + randomInt(3_000) / 100 };
}

export async function person(name: string, side: Side, gender: Gender, place = somewhere()): Promise<Person> {
  const session = createSession({ url: graphUrl });
  const input: RegisterInput = {
    email: `${name.toLowerCase()}-${randomUUID()}@example.org`,
    password: `${randomUUID()} Aa1!`,
    displayName: name,
    birthDate: "1995-05-17",
    gender,
    side,
    idempotencyKey: randomUUID(),
  };
  const id = await until(async () => {
    const answer = await session.register(input);
    if (answer.__typename === "Pending") return null;
    assert.equal(answer.__typename, "Session", JSON.stringify(answer));
    return answer.account.user.id;
  }, `the registration of ${name}`);
  const preferences = { ageMin: 18, ageMax: 99, distanceKmMax: 50, genders: ["FEMALE", "MALE", "NON_BINARY"] satisfies Gender[] };
  const profile = await session.request(UpdateProfileDocument, { input: { preferences } });
  assert.equal(profile.updateProfile.__typename, "ProfileUpdated", JSON.stringify(profile));
  const location = await session.request(SetLocationDocument, { input: place });
  assert.equal(location.setLocation.__typename, "LocationSet", JSON.stringify(location));
  const { webSocketImpl, opened, drop } = droppable();
  const live = createLive({ url: socketUrl, session, webSocketImpl });
  return { id, name, session, live, opened, drop };
}
