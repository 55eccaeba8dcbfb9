/** A member of `errors` in an answer. */
export interface GraphError {
  message: string;
  extensions?: { code?: string; retryAfterSeconds?: number; [name: string]: unknown };
}

/** The graph has refused something: the code says what to do, see "Errors" in the documentation. */
export class Refused extends Error {
  constructor(
    readonly code: string,
    readonly status: number | null,
    message: string,
    /** How long to wait before it makes sense again; null when waiting does not help. */
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
  }

  static of(errors: readonly GraphError[], status: number | null, retryAfterSeconds: number | null = null): Refused {
    const [first] = errors;
    const after = first?.extensions?.retryAfterSeconds ?? retryAfterSeconds;
    return new Refused(first?.extensions?.code ?? "UNKNOWN", status, first?.message ?? "no reason given", after);
  }

  /** Whether the key is not good, or not any more. */
  get isAboutTheKey(): boolean {
    return this.code === "UNAUTHENTICATED";
  }

  /** Whether the same may work later. */
  get passes(): boolean {
    return ["RATE_LIMITED", "OVERLOADED", "UNAVAILABLE"].includes(this.code);
  }
}
