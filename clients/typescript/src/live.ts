import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { getOperationAST, print } from "graphql";
import { type Client, createClient } from "graphql-ws";

import { isCloseEvent, verdictOn } from "./close.js";
import { SignedOut, type SignedOutReason, SocketRefused, hasCode } from "./errors.js";
import type { Session } from "./session.js";
import { type LiveRequest, LiveStream, type Source, type StreamOptions } from "./stream.js";

/** As browsers and npm `ws` give it. */
export interface CloseEvent {
  readonly code: number;
  readonly reason: string;
}

export interface LiveOptions {
  /** The graph over WebSocket, such as `ws://127.0.0.1:4000/ws`. */
  url: string;
  session: Session;
  /** A class like the browser's WebSocket. Node before 22 has none of its own: give that of npm `ws`. */
  webSocketImpl?: unknown;
  /** How long to wait before the given try, counted from 0. By default a random time up to a bound that doubles. */
  retryDelayMs?: (retry: number) => number;
  /** How often to ask the server for a sign of life. It has half as long again to answer. */
  pingEveryMs?: number;
}

/** The part of a socket that is used past `graphql-ws`. */
interface RawSocket {
  readonly readyState: number;
  send(text: string): void;
}

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;
/** A connection that held this long ends the doubling. */
const STABLE_MS = 5_000;
const ACK_TIMEOUT_MS = 10_000;
/** Middleboxes drop what is silent for a minute or so. */
const PING_EVERY_MS = 20_000;
/** An unused socket stays this long, for the next page. */
const IDLE_CLOSE_MS = 1_000;
const RENEWAL_RETRY_MS = 5_000;
const OPEN = 1;
/** Refusals of the token before the server let us in, after which another one will not help. */
const REFUSALS_MAX = 2;

/** Live streams over one socket, opened when the first stream begins and kept up as long as there is one. */
export class Live {
  readonly #session: Session;
  readonly #client: Client;
  readonly #retryDelayMs: (retry: number) => number;
  readonly #pingEveryMs: number;
  readonly #streams = new Set<LiveStream<unknown>>();
  readonly #unlisten: (() => void)[];
  readonly #source: Source;
  #socket: RawSocket | null = null;
  /** Set while the server has let the current socket in. */
  #connectedAt: number | null = null;
  /** The token that the server was last given. */
  #token: string | null = null;
  #retries = 0;
  #refusals = 0;
  #recovery: { fault: unknown; pending: boolean; done: Promise<void> } | null = null;
  #renewalTimer: ReturnType<typeof setTimeout> | undefined;
  #pongTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LiveOptions) {
    this.#session = options.session;
    this.#retryDelayMs = options.retryDelayMs ?? jittered;
    this.#pingEveryMs = options.pingEveryMs ?? PING_EVERY_MS;
    this.#client = createClient({
      url: options.url,
      webSocketImpl: options.webSocketImpl,
      lazy: true,
      lazyCloseTimeout: IDLE_CLOSE_MS,
      // Streams come back by themselves: graphql-ws would repeat the first `subscribe`, not go on after the last event.
      retryAttempts: 0,
      connectionAckWaitTimeout: ACK_TIMEOUT_MS,
      keepAlive: this.#pingEveryMs,
      connectionParams: () => this.#credentials(),
      on: {
        opened: (socket) => (this.#socket = socket as RawSocket),
        connected: () => this.#connected(),
        ping: (received) => received || this.#expectPong(),
        pong: (received) => received && clearTimeout(this.#pongTimer),
        closed: () => this.#closed(),
      },
    });
    this.#source = {
      ready: async () => this.#recovery?.done.catch(() => undefined),
      recover: (fault) => this.#recover(fault),
      attempt: (payload, sink) => this.#client.subscribe(payload, sink as Parameters<Client["subscribe"]>[1]),
      begun: (stream) => void this.#streams.add(stream),
      ended: (stream) => void this.#streams.delete(stream),
    };
    this.#unlisten = [
      this.#session.on("renewed", () => void this.#showToken()),
      this.#session.on("signedOut", (reason) => this.#signedOut(reason)),
    ];
  }

  /** Begins a stream. Leaving its loop ends it. */
  subscribe<T, V>(document: TypedDocumentNode<T, V>, variables: V, options: StreamOptions = {}): LiveStream<T> {
    const operationName = getOperationAST(document)?.name?.value;
    return this.open<T>({ query: print(document), operationName, variables: variables as Record<string, unknown> }, options);
  }

  /** Begins a stream for an operation in text form. */
  open<T = unknown>(request: LiveRequest, options: StreamOptions = {}): LiveStream<T> {
    return new LiveStream<T>(this.#source, request, options);
  }

  /** Ends all streams and closes the socket. */
  async dispose(): Promise<void> {
    for (const unlisten of this.#unlisten) unlisten();
    for (const stream of [...this.#streams]) stream.end();
    clearTimeout(this.#renewalTimer);
    clearTimeout(this.#pongTimer);
    await this.#client.dispose();
  }

  async #credentials(): Promise<Record<string, unknown>> {
    this.#token = await this.#session.accessToken();
    if (this.#token === null) throw new SignedOut();
    return { authorization: `Bearer ${this.#token}` };
  }

  #connected(): void {
    this.#connectedAt = Date.now();
    this.#refusals = 0;
    void this.#showToken();
  }

  #closed(): void {
    if (this.#connectedAt !== null && Date.now() - this.#connectedAt >= STABLE_MS) this.#retries = 0;
    this.#connectedAt = null;
    this.#socket = null;
    clearTimeout(this.#renewalTimer);
    clearTimeout(this.#pongTimer);
  }

  /** Gives the live socket the newest token, and sees to the next one in time. */
  async #showToken(): Promise<void> {
    const socket = this.#socket;
    let retry: number | null = null;
    try {
      const token = await this.#session.accessToken();
      // Another one when it was just renewed: `renewed` has led here again.
      if (socket !== this.#socket || this.#connectedAt === null || token === null) return;
      if (token !== this.#token && socket?.readyState === OPEN) {
        socket.send(JSON.stringify({ type: "ping", payload: { authorization: `Bearer ${token}` } }));
        this.#token = token;
      }
      retry = await this.#session.renewInMs();
    } catch {
      retry = RENEWAL_RETRY_MS;
    }
    if (socket !== this.#socket || this.#connectedAt === null || retry === null) return;
    clearTimeout(this.#renewalTimer);
    // Not zero: a token that stays due (the server cannot be reached) must not spin.
    this.#renewalTimer = setTimeout(() => void this.#showToken(), retry === 0 ? RENEWAL_RETRY_MS : retry);
  }

  #expectPong(): void {
    clearTimeout(this.#pongTimer);
    this.#pongTimer = setTimeout(() => this.#client.terminate(), this.#pingEveryMs / 2);
  }

  #signedOut(reason: SignedOutReason): void {
    for (const stream of [...this.#streams]) stream.end({ error: new SignedOut(reason) });
    this.#token = null;
    if (this.#socket !== null) this.#client.terminate();
  }

  /** All streams hear of a lost socket; they recover together. */
  #recover(fault: unknown): Promise<void> {
    const last = this.#recovery;
    if (last !== null && (last.pending || last.fault === fault)) return last.done;
    const recovery = { fault, pending: true, done: Promise.resolve() };
    recovery.done = this.#prepareRetry(fault).finally(() => {
      recovery.pending = false;
    });
    this.#recovery = recovery;
    return recovery.done;
  }

  async #prepareRetry(fault: unknown): Promise<void> {
    if (fault instanceof SignedOut) throw fault;
    const verdict = isCloseEvent(fault) ? verdictOn(fault.code) : hasCode(fault, "UNAUTHENTICATED") ? "renew" : "reconnect";
    if (verdict === "fatal") throw refusal(fault);
    if (verdict === "renew") {
      const renewed = await this.#renew(fault);
      if (renewed) return;
    }
    await pause(this.#retryDelayMs(this.#retries++));
  }

  /** True when there is a new token to come back with at once. */
  async #renew(fault: unknown): Promise<boolean> {
    if (isCloseEvent(fault) && this.#refusals++ >= REFUSALS_MAX) throw refusal(fault);
    try {
      const token = this.#token === null ? await this.#session.accessToken() : await this.#session.renew(this.#token);
      if (token === null) throw new SignedOut("refused");
    } catch (error) {
      if (error instanceof SignedOut) throw error;
      return false;
    }
    return this.#refusals <= 1;
  }
}

export function createLive(options: LiveOptions): Live {
  return new Live(options);
}

function refusal(fault: unknown): unknown {
  return isCloseEvent(fault) ? new SocketRefused(fault.code, fault.reason) : fault;
}

function jittered(retry: number): number {
  return Math.random() * Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(retry, 16));
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
