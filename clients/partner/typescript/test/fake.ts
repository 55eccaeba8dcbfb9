// A stand-in of the graph that does what a test tells it to.
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

import { type WebSocket, WebSocketServer } from "ws";

import type { Settings } from "../src/settings.js";

export interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
  body: string;
}
export type Reply = [status: number, body: unknown, headers?: Record<string, string>];
/** What a client says on one connection. */
export interface Subscribed {
  init: { apiKey?: string; signature?: { timestamp: number; nonce: string; signature: string } };
  payload: { documentId: string; query: string; extensions: { after?: string; position?: boolean } };
}
/** Answers one subscription: sends messages, then closes or goes away. */
export type Script = (subscribed: Subscribed, say: (type: string, payload?: unknown) => void, socket: WebSocket) => void;

export interface Fake {
  settings: Settings;
  seen: Seen[];
  subscribed: Subscribed[];
  /** What the client has waited, in seconds. */
  slept: number[];
}

const KEY = `vk_test_abcdefghijkl_${"A".repeat(43)}`;

/** Replies to requests, and runs scripts for subscriptions, in turn. */
export async function fake(test: TestContext, replies: Reply[], scripts: Script[] = []): Promise<Fake> {
  const [seen, subscribed, slept]: [Seen[], Subscribed[], number[]] = [[], [], []];
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      seen.push({ method, url, headers, body });
      const [status, answer, more] = replies.shift() ?? [500, { errors: [{ message: "nothing is left to say" }] }];
      response.writeHead(status, { "content-type": "application/json", ...more });
      response.end(status === 304 ? "" : JSON.stringify(answer));
    });
  });
  const sockets = new WebSocketServer({ server, path: "/ws", handleProtocols: () => "graphql-transport-ws" });
  sockets.on("connection", (socket) => {
    let init: Subscribed["init"] = {};
    socket.on("message", (data: Buffer) => {
      const message = JSON.parse(data.toString()) as { id?: string; type: string; payload: unknown };
      const say = (type: string, payload?: unknown): void => socket.send(JSON.stringify({ id: message.id, type, payload }));
      if (message.type === "connection_init") {
        init = message.payload as Subscribed["init"];
        socket.send(JSON.stringify({ type: "connection_ack" }));
      } else if (message.type === "subscribe") {
        const one = { init, payload: message.payload as Subscribed["payload"] };
        subscribed.push(one);
        const script = scripts.shift();
        if (script) script(one, say, socket);
        else socket.close(4400, "nothing is left to say");
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  test.after(() => {
    for (const socket of sockets.clients) socket.terminate();
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  const settings: Settings = {
    url: `http://127.0.0.1:${port}`,
    key: () => KEY,
    sign: false,
    sleep: async (seconds) => void slept.push(seconds),
  };
  return { settings, seen, subscribed, slept };
}

export const refusal = (code: string, more: Record<string, unknown> = {}): unknown => ({
  errors: [{ message: code.toLowerCase(), extensions: { code, ...more } }],
});
