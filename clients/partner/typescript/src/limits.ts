// What the answers' headers say of limits: RateLimit and RateLimit-Policy (an IETF draft), and Retry-After (RFC 9110).

/** One limit, and what is left of it. */
export interface Limit {
  policy: string;
  remaining: number;
  /** When there is more, in seconds from now. */
  resetSeconds: number | null;
  /** How much there is in all, if the policy was told. */
  quota: number | null;
}

/** `"name";a=1;b=2, "other";a=3` as names with those of their parameters that are numbers. */
function items(value: string | null): Map<string, Map<string, number>> {
  const found = new Map<string, Map<string, number>>();
  for (const [, name = "", parameters = ""] of (value ?? "").matchAll(/"([^"]*)"((?:\s*;\s*[a-z-]+(?:=[^;,\s]+)?)*)/g)) {
    const numbers = [...parameters.matchAll(/([a-z]+)=(\d+)/g)];
    found.set(name, new Map(numbers.map(([, key = "", number]) => [key, Number(number)])));
  }
  return found;
}

export function limitsOf(headers: Headers): Limit[] {
  const policies = items(headers.get("ratelimit-policy"));
  return [...items(headers.get("ratelimit"))].map(([policy, left]) => ({
    policy,
    remaining: left.get("r") ?? 0,
    resetSeconds: left.get("t") ?? null,
    quota: policies.get(policy)?.get("q") ?? null,
  }));
}

/** `Retry-After` in seconds, which is a number of them or a date. */
export function retryAfterSeconds(headers: Headers, now = Date.now()): number | null {
  const value = headers.get("retry-after");
  if (value === null) return null;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - now) / 1000;
  return Number.isNaN(seconds) ? null : Math.max(0, seconds);
}
