import type { CloseEvent } from "./live.js";

/** What to do after a close. */
export type Verdict =
  /** Come back after a pause. */
  | "reconnect"
  /** Come back with another access token. */
  | "renew"
  /** The same again would end the same way. */
  | "fatal";

/**
 * Codes of graphql-transport-ws, and of the router, that are not simply a lost connection. All others (1001 going away,
 * 1006 lost, 1013 try later, 4008 slow consumer, 4408 and 4429 initialisation, 4499 silent, …) are worth another try.
 */
const VERDICTS: Readonly<Record<number, Verdict>> = {
  1009: "fatal", // a message of ours is too large
  4400: "fatal", // a message of ours is invalid
  4401: "renew", // subscribed without being let in
  4403: "renew", // the token is refused, or has expired
  4406: "fatal", // the subprotocol is not spoken
  4409: "fatal", // an operation id is in use
};

export function verdictOn(code: number): Verdict {
  return VERDICTS[code] ?? "reconnect";
}

export function isCloseEvent(fault: unknown): fault is CloseEvent {
  return typeof fault === "object" && fault !== null && "code" in fault && "reason" in fault && typeof fault.code === "number";
}
