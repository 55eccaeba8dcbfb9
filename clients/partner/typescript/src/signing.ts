// "Sign your calls" in the documentation.
import { createHash, createHmac, randomUUID } from "node:crypto";

export interface Request {
  method: string;
  /** As it is sent, the query included. */
  pathAndQuery: string;
  /** Empty when there is none. */
  body: string;
}

/** What goes with a request: as headers over HTTP, as members of `signature` on a socket. */
export interface Signature {
  /** Seconds since 1970. */
  timestamp: number;
  /** Used once. */
  nonce: string;
  signature: string;
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const hmac = (secret: string, text: string): string => createHmac("sha256", secret).update(text).digest("hex");

/** The secret follows from the key, so there is nothing else to keep. */
export const signingSecret = (key: string): string => hmac(sha256(key), "velvet-signing-v1");

export function sign(key: string, request: Request, timestamp: number, nonce: string): string {
  const { method, pathAndQuery, body } = request;
  return hmac(signingSecret(key), [timestamp, nonce, method, pathAndQuery, sha256(body)].join("\n"));
}

/** Signs a request now. Each try needs a signature of its own: a nonce is good once. */
export function signed(key: string, request: Request): Signature {
  const [timestamp, nonce] = [Math.floor(Date.now() / 1000), randomUUID()];
  return { timestamp, nonce, signature: sign(key, request, timestamp, nonce) };
}
