const BOUND_MS = 10_000;

/** Fails when the promise takes too long. */
export async function within<T>(promise: Promise<T>, what: string, boundMs = BOUND_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${boundMs} ms in vain: ${what}`)), boundMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until the condition holds and returns what it gave. */
export async function until<T>(condition: () => T | Promise<T>, what: string, boundMs = BOUND_MS): Promise<NonNullable<T>> {
  const end = Date.now() + boundMs;
  for (;;) {
    const value = await condition();
    if (value) return value as NonNullable<T>;
    if (Date.now() > end) throw new Error(`waited ${boundMs} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The next `count` events of a stream. */
export async function take<T>(stream: AsyncIterator<T>, count: number, what: string): Promise<T[]> {
  const taken: T[] = [];
  while (taken.length < count) {
    const { value, done } = await within(stream.next(), `${what}: ${taken.length} of ${count}`);
    if (done) throw new Error(`${what}: ended after ${taken.length} of ${count}`);
    taken.push(value as T);
  }
  return taken;
}
