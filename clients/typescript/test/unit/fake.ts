// A graph in this process: the session commands over HTTP, one kept stream over graphql-transport-ws. It records what
// it is sent and fails when told to.
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { type WebSocket, WebSocketServer } from "ws";

interface Message {
  type: string;
  id: string;
  payload?: {
    authorization?: string;
    query?: string;
    extensions?: { after?: string; position?: boolean };
  };
}

interface Connection {
  socket: WebSocket;
  operations: Set<string>;
}

export class FakeGraph {
  /** Bodies of events; the cursor of each is its index plus one. */
  readonly log: string[] = [];
  /** Cursors before this one get a reset. */
  oldest = 0;
  lifetimeMs = 900_000;
  readonly inits: (string | undefined)[] = [];
  readonly renewals: (string | undefined)[] = [];
  readonly subscribes: NonNullable<NonNullable<Message["payload"]>["extensions"]>[] = [];
  readonly operations: string[] = [];
  /** Tokens that are taken. */
  readonly valid = new Set<string>();
  /** Close the sockets that are opened next with these codes, one each: before they are let in, or when they subscribe. */
  readonly refuse: number[] = [];
  readonly refuseSubscribe: number[] = [];
  /** Answer what is subscribed next with these codes: by `error`, or by `next` and `complete` as async-graphql does. */
  readonly failSubscribe: { code: string; by: "error" | "next" }[] = [];
  /** Drop the connection after the refresh instead of answering. */
  loseAnswers = 0;
  refreshes = 0;
  readonly #frozen = new WeakSet<WebSocket>();
  readonly connections = new Set<Connection>();
  #refreshToken = "";
  #replacedToken = "";
  #serial = 0;
  readonly #http: Server;
  readonly #sockets: WebSocketServer;

  private constructor() {
    this.#http = createServer((request, response) => void this.#answer(request, response));
    this.#sockets = new WebSocketServer({ server: this.#http, path: "/ws" });
    this.#sockets.on("connection", (socket) => this.#connect(socket));
  }

  static async start(): Promise<FakeGraph> {
    const graph = new FakeGraph();
    await new Promise<void>((resolve) => graph.#http.listen(0, "127.0.0.1", resolve));
    return graph;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}/graphql`;
  }

  get wsUrl(): string {
    return this.url.replace("http", "ws").replace("graphql", "ws");
  }

  async stop(): Promise<void> {
    this.terminate();
    this.#sockets.close();
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  publish(...bodies: string[]): void {
    for (const body of bodies) {
      this.log.push(body);
      for (const { socket, operations } of this.connections) {
        for (const id of operations) this.#send(socket, id, this.log.length);
      }
    }
  }

  /** As when the network goes. */
  terminate(): void {
    for (const { socket } of this.connections) socket.terminate();
  }

  /** The sockets of now stay open, and nothing comes over them any more. */
  freeze(): void {
    for (const { socket } of this.connections) this.#frozen.add(socket);
  }

  close(code: number): void {
    for (const { socket } of this.connections) socket.close(code, "because the test says so");
  }

  /** As the router does it: the operations hear of it, then the socket. */
  expire(): void {
    for (const { socket, operations } of this.connections) {
      for (const id of operations) this.#error(socket, id, "UNAUTHENTICATED");
      operations.clear();
      socket.close(4403, "Token expired");
    }
  }

  session() {
    const serial = ++this.#serial;
    const accessToken = `access-${serial}`;
    this.valid.add(accessToken);
    this.#replacedToken = this.#refreshToken;
    this.#refreshToken = `refresh-${serial}`;
    return {
      __typename: "Session",
      accessToken,
      accessTokenExpiresAt: new Date(Date.now() + this.lifetimeMs).toISOString(),
      refreshToken: this.#refreshToken,
      refreshTokenExpiresAt: new Date(Date.now() + 2_592_000_000).toISOString(),
      account: null,
    };
  }

  /** All refresh tokens so far are worth nothing. */
  revoke(): void {
    this.valid.clear();
    this.#refreshToken = this.#replacedToken = "";
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { query, variables } = JSON.parse(Buffer.concat(chunks).toString()) as {
      query: string;
      variables: { input: Record<string, string> };
    };
    const operation = /(?:query|mutation) (\w+)/.exec(query)?.[1] ?? "?";
    this.operations.push(operation);
    const send = (body: unknown, status = 200) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (operation === "Login") return void send({ data: { login: this.session() } });
    if (operation === "Logout") return void send({ data: { logout: { __typename: "LoggedOut", ok: true } } });
    if (operation === "Refresh") {
      this.refreshes += 1;
      const { refreshToken } = variables.input;
      const known = refreshToken === this.#refreshToken || refreshToken === this.#replacedToken;
      const refreshSession = known ? this.session() : { __typename: "CredentialsRefused", reason: "used" };
      if (this.loseAnswers-- > 0) return void request.socket.destroy();
      return void send({ data: { refreshSession } });
    }
    const token = request.headers.authorization?.replace("Bearer ", "") ?? "";
    if (!this.valid.has(token)) {
      return void send({ errors: [{ message: "who?", extensions: { code: "UNAUTHENTICATED" } }] }, 401);
    }
    send({ data: { me: { email: "alice@example.org" } } });
  }

  #connect(socket: WebSocket): void {
    const connection: Connection = { socket, operations: new Set() };
    this.connections.add(connection);
    socket.on("close", () => this.connections.delete(connection));
    socket.on("message", (text) => this.#receive(connection, JSON.parse(String(text)) as Message));
  }

  #receive({ socket, operations }: Connection, { type, id, payload }: Message): void {
    if (type === "connection_init") {
      this.inits.push(payload?.authorization);
      const code = this.refuse.shift() ?? (this.#knows(payload?.authorization) ? undefined : 4403);
      if (code !== undefined) return socket.close(code, "refused");
      socket.send(JSON.stringify({ type: "connection_ack" }));
    } else if (type === "ping") {
      if (payload !== undefined) this.renewals.push(payload.authorization);
      if (!this.#frozen.has(socket)) socket.send(JSON.stringify({ type: "pong" }));
    } else if (type === "complete") {
      operations.delete(id);
    } else if (type === "subscribe") {
      this.subscribes.push(payload?.extensions ?? {});
      const code = this.refuseSubscribe.shift();
      if (code !== undefined) return socket.close(code, "refused");
      const failure = this.failSubscribe.shift();
      if (failure?.by === "error") return this.#error(socket, id, failure.code);
      if (failure?.by === "next") return this.#refuse(socket, id, failure.code);
      operations.add(id);
      this.#begin(socket, id, payload?.extensions ?? {});
    }
  }

  #begin(socket: WebSocket, id: string, { after, position }: { after?: string; position?: boolean }): void {
    if (after === undefined) {
      if (position) this.#next(socket, id, null, { cursor: String(this.log.length), positioned: true });
      return;
    }
    let cursor = Number(after);
    if (cursor < this.oldest) {
      cursor = this.log.length;
      const data = { matchEvents: { __typename: "StreamReset", reason: "too old" } };
      this.#next(socket, id, data, { cursor: String(cursor) });
    }
    while (cursor < this.log.length) this.#send(socket, id, ++cursor);
  }

  #knows(authorization: string | undefined): boolean {
    return this.valid.has(authorization?.replace("Bearer ", "") ?? "");
  }

  #send(socket: WebSocket, id: string, cursor: number): void {
    const data = { matchEvents: { __typename: "MatchEnded", matchId: this.log[cursor - 1] } };
    this.#next(socket, id, data, { cursor: String(cursor) });
  }

  #next(socket: WebSocket, id: string, data: unknown, extensions: unknown): void {
    if (this.#frozen.has(socket)) return;
    socket.send(JSON.stringify({ type: "next", id, payload: { data, extensions } }));
  }

  #refuse(socket: WebSocket, id: string, code: string): void {
    socket.send(
      JSON.stringify({ type: "next", id, payload: { data: null, errors: [{ message: code, extensions: { code } }] } }),
    );
    socket.send(JSON.stringify({ type: "complete", id }));
  }

  #error(socket: WebSocket, id: string, code: string): void {
    socket.send(JSON.stringify({ type: "error", id, payload: [{ message: code, extensions: { code } }] }));
  }
}
