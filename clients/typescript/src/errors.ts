/** One entry of a GraphQL response's `errors`. */
export interface GraphError {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions?: { readonly code?: string; readonly [key: string]: unknown };
}

/** The graph answered with errors, or not with a GraphQL response at all. */
export class RequestFailed extends Error {
  override readonly name = "RequestFailed";

  constructor(
    readonly errors: readonly GraphError[],
    /** HTTP status; null over a socket. */
    readonly status: number | null = null,
  ) {
    super(errors.map((error) => error.message).join("; ") || `HTTP status ${status}`);
  }

  /** The first error's code, as the graph's documentation lists them. */
  get code(): string | undefined {
    return this.errors[0]?.extensions?.code;
  }
}

/** Why a session is over. */
export type SignedOutReason =
  /** `logout` was called. */
  | "logout"
  /** The server no longer takes the refresh token. */
  | "refused"
  /** Another tab that shares the storage signed out. */
  | "elsewhere"
  /** Another account signed in on this session. */
  | "replaced";

/** What needs a session has none any more. Sign in, then subscribe anew: cursors belong to one account. */
export class SignedOut extends Error {
  override readonly name = "SignedOut";

  constructor(readonly reason?: SignedOutReason) {
    super(reason === undefined ? "signed out" : `signed out: ${reason}`);
  }
}

/** The server closed the socket with a code after which trying again would not help. */
export class SocketRefused extends Error {
  override readonly name = "SocketRefused";

  constructor(
    readonly closeCode: number,
    readonly closeReason: string,
  ) {
    super(`socket closed with ${closeCode} ${closeReason}`.trimEnd());
  }
}

export function hasCode(errors: unknown, code: string): boolean {
  return Array.isArray(errors) && errors.some((error: GraphError | null) => error?.extensions?.code === code);
}
