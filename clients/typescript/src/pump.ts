import type { GraphError } from "./errors.js";
import type { Live } from "./live.js";
import type { LiveRequest, StreamReset } from "./stream.js";

export interface StreamHooks {
  /** Called once the server has said where a stream starts. What is fetched from then on leaves no gap before it. */
  onStarted?: (request: LiveRequest) => void;
  /** Called in place of a `StreamReset` event, and awaited before what follows. */
  onReset?: (reset: StreamReset, request: LiveRequest) => void | Promise<void>;
}

export interface Observer {
  next(result: { data?: Record<string, unknown> | null; errors?: GraphError[]; extensions?: Record<string, unknown> }): void;
  error(error: unknown): void;
  complete(): void;
}

/** Reads a stream into an observer, as the client libraries want it. Returns what ends the stream. */
export function pump(live: Live, request: LiveRequest, { onStarted, onReset }: StreamHooks, observer: Observer): () => void {
  const stream = live.open<Record<string, unknown>>(
    request,
    onReset === undefined ? {} : { onReset: (reset) => onReset(reset, request) },
  );
  stream.started.then(
    () => onStarted?.(request),
    () => undefined,
  );
  const read = async (): Promise<void> => {
    for await (const { data, errors, extensions } of stream) {
      observer.next({
        data,
        ...(errors ? { errors: [...errors] } : {}),
        ...(extensions ? { extensions: { ...extensions } } : {}),
      });
    }
  };
  read().then(
    () => observer.complete(),
    (error: unknown) => observer.error(error),
  );
  return () => void stream.return();
}
