// A live stream by an operation's id, over as many connections as it takes and across a change of the key.
import { type Client as Socket, type SubscribePayload, createClient } from "graphql-ws";
import WebSocket from "ws";

import { pauseSeconds } from "./client.js";
import { type GraphError, Refused } from "./errors.js";
import type { Settings } from "./settings.js";
import { signed } from "./signing.js";

export interface StreamEvent<T> {
  data: T | null;
  errors?: readonly GraphError[] | undefined;
  /** Where to go on after this event. */
  cursor: string | null;
}

export interface FollowOptions {
  /** Goes on after this cursor instead of starting now. */
  after?: string | null;
  /** Called when the stream stands: from then on nothing is missed. */
  onStart?: (cursor: string | null) => void;
  /** Called for each connection that was lost. */
  onLost?: (reason: unknown) => void;
}

interface Response<T> {
  data?: T | null;
  errors?: readonly GraphError[];
  extensions?: { cursor?: string | null; positioned?: boolean };
}

/** Close codes after which the same would only be refused again: against the protocol, or too large. */
const FATAL_CLOSES = [1009, 4400, 4401, 4406, 4408, 4409, 4429];
const KEY_ENDED = 4403;
const PING_EVERY_MS = 10_000;
const PONG_WITHIN_MS = 5_000;
/** A key is given up when it was refused so often in a row: once may be bad timing. */
const REFUSALS_MAX = 2;

/** Events, each once and in order. Ends when the operation does, fails when the key or the operation is not good. */
export async function* follow<T>(
  settings: Settings,
  id: string,
  variables: Record<string, unknown> = {},
  { after = null, onStart, onLost }: FollowOptions = {},
): AsyncGenerator<StreamEvent<T>, void> {
  let cursor = after;
  let [lost, refusals, key] = [0, 0, ""];
  for (;;) {
    const current = settings.key();
    if (current !== key) refusals = 0;
    key = current;
    // Without a cursor, the first message says where the stream starts.
    const extensions = cursor === null ? { position: true } : { after: cursor };
    const socket = connect(settings, key);
    let wait: number;
    try {
      for await (const response of socket.iterate<T>(payload(id, variables, extensions))) {
        const { data, errors, extensions } = response as Response<T>;
        [lost, refusals] = [0, 0];
        if (extensions?.cursor) cursor = extensions.cursor;
        if (extensions?.positioned) onStart?.(cursor);
        else yield { data: data ?? null, errors, cursor };
      }
      return;
    } catch (error) {
      const refused = refusalOf(error);
      if (refused && !refused.isAboutTheKey && !refused.passes) throw refused;
      // The next key may be in place already; without one, the same is tried once more.
      if (refused?.isAboutTheKey && settings.key() === key && ++refusals === REFUSALS_MAX) throw refused;
      onLost?.(refused ?? error);
      lost += 1;
      wait = pauseSeconds(lost, refused);
    } finally {
      void socket.dispose();
    }
    await settings.sleep(wait);
  }
}

/** `graphql-ws` wants a text, which is empty for an operation that is called by its id. */
function payload(id: string, variables: Record<string, unknown>, extensions: Record<string, unknown>): SubscribePayload {
  const named = { query: "", documentId: id, variables, extensions };
  return named;
}

/** One connection: what comes after it is lost is for the caller, who knows the cursor. */
function connect(settings: Settings, key: string): Socket {
  let silent: NodeJS.Timeout;
  let websocket: WebSocket | undefined;
  return createClient({
    url: `${settings.url.replace(/^http/, "ws")}/ws`,
    webSocketImpl: WebSocket,
    connectionParams: () => {
      const signature = settings.sign && signed(key, { method: "GET", pathAndQuery: "/ws", body: "" });
      return { apiKey: key, ...(signature ? { signature } : {}) };
    },
    connectionAckWaitTimeout: 10_000,
    retryAttempts: 0,
    keepAlive: PING_EVERY_MS,
    on: {
      opened: (opened) => {
        websocket = opened as WebSocket;
      },
      // A network that went away without a word.
      ping: (received) => {
        if (!received) silent = setTimeout(() => websocket?.terminate(), PONG_WITHIN_MS);
      },
      pong: (received) => {
        if (received) clearTimeout(silent);
      },
      closed: () => clearTimeout(silent),
    },
  });
}

/** Nothing when the connection was lost: that passes. */
function refusalOf(fault: unknown): Refused | null {
  if (Array.isArray(fault)) return Refused.of(fault as GraphError[], null);
  const { code, reason } = (fault ?? {}) as { code?: unknown; reason?: unknown };
  if (typeof code !== "number") return null;
  if (code === KEY_ENDED) return new Refused("UNAUTHENTICATED", code, String(reason));
  return FATAL_CLOSES.includes(code) ? new Refused("BAD_REQUEST", code, String(reason)) : null;
}
