// Calls over HTTP: publishing, operations by their id, pages, and waiting when told to.
import { type GraphError, Refused } from "./errors.js";
import { type Limit, limitsOf, retryAfterSeconds } from "./limits.js";
import type { Manifest } from "./manifest.js";
import type { Settings } from "./settings.js";
import { signed } from "./signing.js";

export interface Answer<T> {
  data: T;
  /** What is left, as far as the answer says so. */
  limits: Limit[];
  /** Whether the answer is the one that was kept from before (304). */
  unchanged: boolean;
}

/** What publishing has said about each operation. */
export interface Report {
  ok: boolean;
  release: number | null;
  operations: { id: string; name: string | null; cost: number; scopes: string[]; problems: string[] }[];
}

export interface Page<N> {
  nodes: N[];
  pageInfo: { hasNextPage: boolean; endCursor: string | null };
}

interface Body<T> {
  data?: T | null;
  errors?: GraphError[];
}

const TRIES = 5;
const ANSWER_WITHIN_MS = 30_000;
/** Longer is for a person to know of: a quota of the month, say. */
const WAIT_SECONDS_MAX = 60;
const JSON_TYPE = { "content-type": "application/json" };

export class Client {
  /** Answers by address, with their tags. A program that runs for long would bound this. */
  readonly #kept = new Map<string, { tag: string; data: unknown }>();

  constructor(readonly settings: Settings) {}

  /** Registers operations, all or none. The same idempotency key twice is one release. */
  async publish(manifest: Manifest, client: string, idempotencyKey: string): Promise<Report> {
    const query = new URLSearchParams({ client, idempotencyKey });
    const response = await this.#send("POST", `/graphql/op?${query}`, JSON.stringify(manifest), JSON_TYPE);
    const report = (await response.json()) as Report;
    if (response.status === 200 || response.status === 422) return report;
    throw await refusalOf(response, report);
  }

  /** Calls an operation by its id. */
  async call<T>(id: string, variables: Record<string, unknown> = {}): Promise<Answer<T>> {
    const response = await this.#send("POST", "/graphql", JSON.stringify({ documentId: id, variables }), JSON_TYPE);
    return { data: await dataOf<T>(response), limits: limitsOf(response.headers), unchanged: false };
  }

  /** Calls a query by its address, which asks only whether it has changed when it was asked before. */
  async get<T>(id: string, variables: Record<string, unknown> = {}): Promise<Answer<T>> {
    const address = `/graphql/op/${id}?${new URLSearchParams({ variables: JSON.stringify(variables) })}`;
    const kept = this.#kept.get(address);
    const response = await this.#send("GET", address, "", kept ? { "if-none-match": kept.tag } : {});
    const limits = limitsOf(response.headers);
    if (response.status === 304 && kept) return { data: kept.data as T, limits, unchanged: true };
    const data = await dataOf<T>(response);
    const tag = response.headers.get("etag");
    if (tag !== null) this.#kept.set(address, { tag, data });
    return { data, limits, unchanged: false };
  }

  /** All nodes of a connection, page by page. */
  async *nodes<T, N>(id: string, first: number, connection: (data: T) => Page<N>): AsyncGenerator<N, void> {
    let after: string | null = null;
    for (;;) {
      const { data } = await this.call<T>(id, { first, after });
      const { nodes, pageInfo } = connection(data);
      yield* nodes;
      if (!pageInfo.hasNextPage) return;
      after = pageInfo.endCursor;
    }
  }

  /** Sends a request, and again when the graph asks for patience or the network fails. */
  async #send(method: string, pathAndQuery: string, body: string, headers: Record<string, string>): Promise<Response> {
    for (let tried = 1; ; tried += 1) {
      let reason: unknown;
      try {
        const response = await this.#sendOnce(method, pathAndQuery, body, headers);
        if (response.status !== 429 && response.status !== 503) return response;
        const refused = await refusalOf(response);
        if (tried === TRIES || (refused.retryAfterSeconds ?? 0) > WAIT_SECONDS_MAX) throw refused;
        reason = refused;
      } catch (error) {
        // `fetch` fails with a TypeError, and with a TimeoutError when we lose patience.
        const lost = error instanceof TypeError || (error instanceof Error && error.name === "TimeoutError");
        if (!lost || tried === TRIES) throw error;
        reason = error;
      }
      const seconds = pauseSeconds(tried, reason);
      this.settings.onWait?.(seconds, reason);
      await this.settings.sleep(seconds);
    }
  }

  #sendOnce(method: string, pathAndQuery: string, body: string, headers: Record<string, string>): Promise<Response> {
    const key = this.settings.key();
    const sent: Record<string, string> = { ...headers, accept: "application/graphql-response+json", "x-api-key": key };
    if (this.settings.sign) {
      const { timestamp, nonce, signature } = signed(key, { method, pathAndQuery, body });
      sent["x-velvet-timestamp"] = String(timestamp);
      sent["x-velvet-nonce"] = nonce;
      sent["x-velvet-signature"] = signature;
    }
    const signal = AbortSignal.timeout(ANSWER_WITHIN_MS);
    const init = { method, headers: sent, signal, ...(method === "GET" ? {} : { body }) };
    return fetch(`${this.settings.url}${pathAndQuery}`, init);
  }
}

/** 0.25 s, doubled with each try up to 8 s, and then anything between half of it and all. */
export function backoffSeconds(tried: number): number {
  return Math.min(8, 0.25 * 2 ** (tried - 1)) * (0.5 + Math.random() / 2);
}

/** As long as the graph asks for, and up to a second more so that not all come back at once; without its word, the above. */
export function pauseSeconds(tried: number, reason: unknown): number {
  const after = reason instanceof Refused ? reason.retryAfterSeconds : null;
  return after === null ? backoffSeconds(tried) : after + Math.random();
}

async function dataOf<T>(response: Response): Promise<T> {
  const text = await response.text();
  const { data, errors } = parse<Body<T>>(text) ?? {};
  if (errors?.length) throw Refused.of(errors, response.status, retryAfterSeconds(response.headers));
  if (data === undefined || data === null) throw new Refused("UNKNOWN", response.status, text.slice(0, 200));
  return data;
}

async function refusalOf(response: Response, read?: unknown): Promise<Refused> {
  const text = read === undefined ? await response.text() : "";
  const body = (read ?? parse(text)) as { errors?: GraphError[]; error?: { code: string; message: string } } | null;
  const { error } = body ?? {};
  const errors = body?.errors ?? (error ? [{ message: error.message, extensions: { code: error.code } }] : []);
  return Refused.of(errors, response.status, retryAfterSeconds(response.headers));
}

function parse<T>(text: string): T | null {
  try {
    return JSON.parse(text) as T;
  } catch {
    return null;
  }
}
