import type { TypedDocumentNode } from "@graphql-typed-document-node/core";
import { print } from "graphql";

import { type GraphError, RequestFailed, type SignedOutReason, hasCode } from "./errors.js";
import {
  LoginDocument,
  type LoginInput,
  type LoginMutation,
  LogoutDocument,
  RefreshDocument,
  RegisterDocument,
  type RegisterInput,
  type RegisterMutation,
} from "./generated/graphql.js";
import { type SessionStorage, type Tokens, memoryStorage, readTokens, receivedTokens, writeTokens } from "./storage.js";

export interface SessionOptions {
  /** The graph over HTTP, such as `http://127.0.0.1:4000/graphql`. */
  url: string;
  fetch?: typeof globalThis.fetch;
  /** Memory when absent. Give `localStorage` to outlive a reload and to share the session between tabs. */
  storage?: SessionStorage;
}

interface Events {
  signedIn: () => void;
  /** A new access token is there. */
  renewed: () => void;
  signedOut: (reason: SignedOutReason) => void;
}

interface Credentials {
  accessToken: string;
  accessTokenExpiresAt: string;
  refreshToken: string;
}

/** How long a request of the session's own may take. */
const REQUEST_TIMEOUT_MS = 15_000;

/** A signed-in account's tokens: kept, renewed before they end, and put on every request. */
export class Session {
  readonly url: string;
  readonly #fetch: typeof globalThis.fetch;
  readonly #storage: SessionStorage;
  readonly #listeners: { [E in keyof Events]: Set<Events[E]> } = {
    signedIn: new Set(),
    renewed: new Set(),
    signedOut: new Set(),
  };
  /** Undefined until the storage has been read. */
  #tokens: Tokens | null | undefined;
  #renewal: Promise<Tokens | null> | null = null;

  constructor(options: SessionOptions) {
    this.url = options.url;
    this.#fetch = options.fetch ?? ((...request) => globalThis.fetch(...request));
    this.#storage = options.storage ?? memoryStorage();
  }

  /** Returns what stops the listening. */
  on<E extends keyof Events>(event: E, listener: Events[E]): () => void {
    this.#listeners[event].add(listener);
    return () => void this.#listeners[event].delete(listener);
  }

  /** Makes an account and signs in. On `Pending`, ask again later with the same `idempotencyKey`. */
  async register(input: RegisterInput): Promise<RegisterMutation["register"]> {
    const { register } = await this.#ask(RegisterDocument, { input });
    if (register.__typename === "Session") await this.#signIn(register);
    return register;
  }

  async login(input: LoginInput): Promise<LoginMutation["login"]> {
    const { login } = await this.#ask(LoginDocument, { input });
    if (login.__typename === "Session") await this.#signIn(login);
    return login;
  }

  /** Signs out here whatever happens; fails when the server could not be told. */
  async logout(): Promise<void> {
    await this.#renewal?.catch(() => null);
    const tokens = await this.#current();
    if (tokens === null) return;
    await this.#end("logout");
    await this.#ask(LogoutDocument, { input: { refreshToken: tokens.refreshToken } });
  }

  /** A token that is good for a while yet, renewed when it must be; null when signed out. */
  async accessToken(): Promise<string | null> {
    const tokens = await this.#current();
    if (tokens === null || Date.now() < tokens.renewAt) return tokens?.accessToken ?? null;
    try {
      return (await this.#renewOnce(tokens))?.accessToken ?? null;
    } catch (error) {
      if (Date.now() < tokens.expiresAt) return tokens.accessToken;
      throw error;
    }
  }

  /** Another token than the one that was refused; null when there is none to be had, which signs out. */
  async renew(refused: string): Promise<string | null> {
    const tokens = await this.#current();
    if (tokens === null || tokens.accessToken !== refused) return tokens?.accessToken ?? null;
    return (await this.#renewOnce(tokens))?.accessToken ?? null;
  }

  /** How long until the access token should be replaced; null when signed out. */
  async renewInMs(): Promise<number | null> {
    const tokens = await this.#current();
    return tokens === null ? null : Math.max(0, tokens.renewAt - Date.now());
  }

  /** `fetch` with the access token; refused ones are renewed and the request repeated once. For the graph only. */
  readonly fetch: typeof globalThis.fetch = async (input, init) => {
    const token = await this.accessToken();
    // A Request can be read once only.
    const again = input instanceof Request ? input.clone() : input;
    const response = await this.#fetch(input, authorized(input, init, token));
    if (token === null || !(await isUnauthenticated(response))) return response;
    const renewed = await this.renew(token);
    return renewed === null ? response : this.#fetch(again, authorized(again, init, renewed));
  };

  /** Runs a query or a mutation. Fails with `RequestFailed` when the answer holds errors. */
  async request<T, V>(document: TypedDocumentNode<T, V>, variables: V): Promise<T> {
    return post(this.fetch, this.url, document, variables);
  }

  #ask<T, V>(document: TypedDocumentNode<T, V>, variables: V): Promise<T> {
    return post(this.#fetch, this.url, document, variables);
  }

  async #current(): Promise<Tokens | null> {
    if (this.#tokens === undefined) {
      const stored = await readTokens(this.#storage);
      this.#tokens ??= stored;
    }
    return this.#tokens;
  }

  async #signIn(credentials: Credentials): Promise<void> {
    await this.#renewal?.catch(() => null);
    if ((await this.#current()) !== null) await this.#end("replaced");
    await this.#keep(credentials);
    this.#emit("signedIn");
  }

  async #keep(credentials: Credentials): Promise<Tokens> {
    const tokens = receivedTokens(credentials, Date.now());
    this.#tokens = tokens;
    await writeTokens(this.#storage, tokens);
    return tokens;
  }

  async #end(reason: SignedOutReason): Promise<null> {
    this.#tokens = null;
    await writeTokens(this.#storage, null);
    this.#emit("signedOut", reason);
    return null;
  }

  #emit<E extends keyof Events>(event: E, ...payload: Parameters<Events[E]>): void {
    for (const listener of [...this.#listeners[event]]) (listener as (...payload: Parameters<Events[E]>) => void)(...payload);
  }

  /** However many ask at once, one refresh. */
  #renewOnce(tokens: Tokens): Promise<Tokens | null> {
    this.#renewal ??= alone(() => this.#rotate(tokens)).finally(() => {
      this.#renewal = null;
    });
    return this.#renewal;
  }

  async #rotate(ours: Tokens): Promise<Tokens | null> {
    // Another tab may have rotated since: a refresh token is good once.
    const stored = await readTokens(this.#storage);
    if (stored === null) return this.#end("elsewhere");
    if (stored.refreshToken !== ours.refreshToken && Date.now() < stored.renewAt) return this.#adopt(stored);
    const answer = await this.#refresh(stored.refreshToken);
    if (answer.__typename === "Session") {
      const tokens = await this.#keep(answer);
      this.#emit("renewed");
      return tokens;
    }
    const newer = await readTokens(this.#storage);
    const rotated = newer !== null && newer.refreshToken !== stored.refreshToken;
    return rotated ? this.#adopt(newer) : this.#end("refused");
  }

  #adopt(tokens: Tokens): Tokens {
    this.#tokens = tokens;
    this.#emit("renewed");
    return tokens;
  }

  async #refresh(refreshToken: string) {
    const ask = async () => (await this.#ask(RefreshDocument, { input: { refreshToken } })).refreshSession;
    try {
      return await ask();
    } catch (error) {
      if (error instanceof RequestFailed) throw error;
      // The answer may have been lost on its way. The server gives a token just replaced one more pair.
      return ask();
    }
  }
}

export function createSession(options: SessionOptions): Session {
  return new Session(options);
}

/** One tab at a time, where the platform can do that; elsewhere the server's grace for a token just replaced must do. */
function alone<T>(work: () => Promise<T>): Promise<T> {
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  return locks === undefined ? work() : (locks.request("velvet.session", work) as Promise<T>);
}

function authorized(input: RequestInfo | URL, init: RequestInit | undefined, token: string | null): RequestInit {
  const headers = new Headers(init?.headers ?? (input instanceof Request ? input.headers : undefined));
  if (token !== null) headers.set("authorization", `Bearer ${token}`);
  return { ...init, headers };
}

async function isUnauthenticated(response: Response): Promise<boolean> {
  if (response.status === 401) return true;
  if (!response.headers.get("content-type")?.includes("json")) return false;
  const text = await response.clone().text();
  if (!text.includes("UNAUTHENTICATED")) return false;
  try {
    return hasCode((JSON.parse(text) as { errors?: unknown }).errors, "UNAUTHENTICATED");
  } catch {
    return false;
  }
}

async function post<T, V>(
  fetch: typeof globalThis.fetch,
  url: string,
  document: TypedDocumentNode<T, V>,
  variables: V,
): Promise<T> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/graphql-response+json, application/json" },
    body: JSON.stringify({ query: print(document), variables }),
    signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
  });
  const text = await response.text();
  let answer: { data?: T | null; errors?: GraphError[] };
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch {
    throw new RequestFailed([], response.status);
  }
  if (answer.errors !== undefined || answer.data == null) throw new RequestFailed(answer.errors ?? [], response.status);
  return answer.data;
}
