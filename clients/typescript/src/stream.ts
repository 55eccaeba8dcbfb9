import { type GraphError, RequestFailed, hasCode } from "./errors.js";

/** An event of a live stream. */
export interface LiveEvent<T> {
  /** Null when the event could not be resolved; `errors` says why. */
  readonly data: T | null;
  readonly errors?: readonly GraphError[];
  readonly extensions?: Readonly<Record<string, unknown>>;
  /** The stream's position after this event; null in streams that are not kept, such as `typing`. */
  readonly cursor: string | null;
}

/** What was missed is no longer kept: fetch the lists anew, then go on. */
export interface StreamReset {
  /** The root field whose stream it is. */
  readonly field: string;
  readonly reason: string;
  readonly cursor: string | null;
}

export interface StreamOptions {
  /** Goes on after this cursor instead of starting now. */
  after?: string | null;
  /**
   * Called in its place between events, and awaited. Without it a `StreamReset` is an event like any other.
   * It is known by its `__typename`, which the operation must select.
   */
  onReset?: (reset: StreamReset) => void | Promise<void>;
  /** Ends the stream. */
  signal?: AbortSignal;
  /** Events that may wait for the reader. When there are more, the rest waits on the server. */
  bufferMax?: number;
}

/** The payload of `subscribe`. */
export interface LiveRequest {
  query: string;
  operationName?: string | undefined;
  variables?: Record<string, unknown> | undefined;
}

/** What a stream needs of the connection. */
export interface Source {
  /** Resolves when it makes sense to subscribe. */
  ready(): Promise<void>;
  /** Resolves when it makes sense to try again after a fault; fails when it never will. */
  recover(fault: unknown): Promise<void>;
  /** Subscribes once. Returns what unsubscribes. */
  attempt(payload: LiveRequest & { extensions: Record<string, unknown> }, sink: Sink): () => void;
  begun(stream: LiveStream<unknown>): void;
  ended(stream: LiveStream<unknown>): void;
}

export interface Sink {
  next(response: Response): void;
  error(fault: unknown): void;
  complete(): void;
}

interface Response {
  data?: unknown;
  errors?: readonly GraphError[] | undefined;
  extensions?: Record<string, unknown> | null | undefined;
}

type End = { kind: "complete" } | { kind: "full" } | { kind: "fault"; fault: unknown };

/** So many refusals of the token in a row are taken for bad timing. */
const REFUSALS_MAX = 2;
const BUFFER_MAX = 1_000;

/**
 * Events of one subscription, each once and in order, across as many sockets as it takes.
 * It begins at once; leaving a `for await` loop, or `return()`, ends it.
 */
export class LiveStream<T> implements AsyncIterableIterator<LiveEvent<T>> {
  /**
   * Resolves when it is known where the stream starts: what happens from then on is not missed. In streams that are not
   * kept, such as `typing`, only with the first event.
   */
  readonly started: Promise<void>;

  readonly #source: Source;
  readonly #request: LiveRequest;
  readonly #options: StreamOptions;
  readonly #bufferMax: number;
  readonly #buffer: LiveEvent<T>[] = [];
  #cursor: string | null;
  #refusals = 0;
  #over = false;
  #failure: { error: unknown } | null = null;
  #cancel: (() => void) | null = null;
  /** Wakes the reader when there is something new. */
  #wakeReader: (() => void) | null = null;
  /** Wakes the subscription when the reader has read what waited. */
  #wakeWriter: (() => void) | null = null;
  #start!: { resolve: () => void; reject: (error: unknown) => void };

  constructor(source: Source, request: LiveRequest, options: StreamOptions) {
    this.#source = source;
    this.#request = request;
    this.#options = options;
    this.#bufferMax = options.bufferMax ?? BUFFER_MAX;
    this.#cursor = options.after ?? null;
    this.started = new Promise<void>((resolve, reject) => {
      this.#start = { resolve, reject };
    });
    // Whoever does not wait for it hears of a failure from `next`.
    this.started.catch(() => undefined);
    // After a cursor nothing can be missed.
    if (this.#cursor !== null) this.#start.resolve();
    source.begun(this as LiveStream<unknown>);
    options.signal?.addEventListener("abort", this.#abort, { once: true });
    if (options.signal?.aborted) this.#abort();
    void this.#run();
  }

  /** The position of the last event received. */
  get cursor(): string | null {
    return this.#cursor;
  }

  async next(): Promise<IteratorResult<LiveEvent<T>, undefined>> {
    for (;;) {
      const event = this.#buffer.shift();
      if (event === undefined) {
        this.#wakeWriter?.();
        if (this.#failure !== null) throw this.#failure.error;
        if (this.#over) return { done: true, value: undefined };
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
        continue;
      }
      const reset = this.#options.onReset && resetIn(event);
      if (!reset) return { done: false, value: event };
      await this.#options.onReset?.(reset);
    }
  }

  async return(): Promise<IteratorResult<LiveEvent<T>, undefined>> {
    this.#buffer.length = 0;
    this.end();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Ends it, with an error for the reader if one is given. What was received can still be read. */
  end(failure?: { error: unknown }): void {
    if (this.#over) return;
    this.#over = true;
    this.#source.ended(this as LiveStream<unknown>);
    this.#failure = failure ?? null;
    this.#options.signal?.removeEventListener("abort", this.#abort);
    this.#cancel?.();
    if (failure) this.#start.reject(failure.error);
    else this.#start.resolve();
    this.#wakeReader?.();
    this.#wakeWriter?.();
  }

  readonly #abort = (): void => this.end();

  async #run(): Promise<void> {
    try {
      while (!this.#over) {
        await this.#source.ready();
        if (this.#over) return;
        const end = await this.#attempt();
        if (this.#over || end.kind === "complete") break;
        if (end.kind === "full") await this.#drained();
        else await this.#recover(end.fault);
      }
      this.end();
    } catch (error) {
      this.end({ error });
    }
  }

  #attempt(): Promise<End> {
    return new Promise((resolve) => {
      let ended = false;
      const end = (how: End): void => {
        ended = true;
        this.#cancel = null;
        resolve(how);
      };
      const extensions = this.#cursor === null ? { position: true } : { after: this.#cursor };
      const cancel = this.#source.attempt(
        { ...this.#request, extensions },
        {
          next: (response) => {
            if (ended) return;
            if (isRefusal(response)) {
              end({ kind: "fault", fault: response.errors });
              cancel();
              return;
            }
            this.#take(response);
            // Without a cursor there is nothing to come back to, so all must be kept here.
            if (this.#buffer.length < this.#bufferMax || this.#cursor === null) return;
            end({ kind: "full" });
            cancel();
          },
          error: (fault) => {
            if (ended) return;
            end({ kind: "fault", fault });
            // graphql-ws counts an operation that a lost socket ended as running until it is told otherwise.
            cancel();
          },
          complete: () => {
            if (!ended) end({ kind: "complete" });
          },
        },
      );
      this.#cancel = () => {
        end({ kind: "complete" });
        cancel();
      };
    });
  }

  #take(response: Response): void {
    const { data, errors, extensions } = response;
    const cursor = typeof extensions?.cursor === "string" ? extensions.cursor : null;
    if (cursor !== null) this.#cursor = cursor;
    this.#refusals = 0;
    this.#start.resolve();
    if (extensions?.positioned === true) return;
    this.#buffer.push({
      data: (data ?? null) as T | null,
      ...(errors ? { errors } : {}),
      ...(extensions ? { extensions } : {}),
      cursor,
    });
    this.#wakeReader?.();
  }

  /** Errors of the operation itself end it, unless they are about the token or pass by themselves. */
  async #recover(fault: unknown): Promise<void> {
    if (Array.isArray(fault)) {
      const refused = hasCode(fault, "UNAUTHENTICATED") && this.#refusals++ < REFUSALS_MAX;
      if (!refused && !hasCode(fault, "UNAVAILABLE")) throw new RequestFailed(fault as GraphError[]);
    }
    await this.#source.recover(fault);
  }

  async #drained(): Promise<void> {
    while (this.#buffer.length > 0 && !this.#over) {
      await new Promise<void>((resolve) => {
        this.#wakeWriter = resolve;
      });
    }
  }
}

/** Some servers refuse an operation by a first response of errors alone. What has a cursor is an event, if a broken one. */
function isRefusal({ data, errors, extensions }: Response): boolean {
  return data == null && errors !== undefined && errors.length > 0 && typeof extensions?.cursor !== "string";
}

function resetIn(event: LiveEvent<unknown>): StreamReset | null {
  if (typeof event.data !== "object" || event.data === null) return null;
  for (const [field, value] of Object.entries(event.data as Record<string, unknown>)) {
    const { __typename, reason } = (value ?? {}) as { __typename?: unknown; reason?: unknown };
    if (__typename === "StreamReset") return { field, reason: typeof reason === "string" ? reason : "", cursor: event.cursor };
  }
  return null;
}
