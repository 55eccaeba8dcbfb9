/** Where a session's tokens are kept; `localStorage` is one. Tabs that share it share the session. */
export interface SessionStorage {
  getItem(key: string): string | null | Promise<string | null>;
  setItem(key: string, value: string): void | Promise<void>;
  removeItem(key: string): void | Promise<void>;
}

/** Tokens of a signed-in session. Times are in milliseconds of this device's clock. */
export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly renewAt: number;
  readonly expiresAt: number;
}

/** Keeps the tokens until the program ends. */
export function memoryStorage(): SessionStorage {
  const items = new Map<string, string>();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
    removeItem: (key) => void items.delete(key),
  };
}

const KEY = "velvet.session";

export async function readTokens(storage: SessionStorage): Promise<Tokens | null> {
  const text = await storage.getItem(KEY);
  if (text === null) return null;
  try {
    const tokens = JSON.parse(text) as Partial<Tokens> | null;
    const whole = typeof tokens?.accessToken === "string" && typeof tokens.refreshToken === "string";
    return whole ? { renewAt: 0, expiresAt: 0, ...(tokens as Pick<Tokens, "accessToken" | "refreshToken">) } : null;
  } catch {
    return null;
  }
}

export async function writeTokens(storage: SessionStorage, tokens: Tokens | null): Promise<void> {
  await (tokens === null ? storage.removeItem(KEY) : storage.setItem(KEY, JSON.stringify(tokens)));
}

/** How long before its expiry an access token is replaced, at most: what a slow request may take. */
const RENEWAL_MARGIN_MS = 60_000;
/** However wrong the clocks are, tokens are not renewed faster than about this. */
const LIFETIME_MIN_MS = 1_000;

/** What the server gave, on this device's clock. The lifetime is the token's own, so a wrong clock here does no harm. */
export function receivedTokens(
  session: { accessToken: string; accessTokenExpiresAt: string; refreshToken: string },
  now: number,
): Tokens {
  const lifetime = Math.max(LIFETIME_MIN_MS, lifetimeMs(session.accessToken) ?? Date.parse(session.accessTokenExpiresAt) - now);
  const { accessToken, refreshToken } = session;
  const expiresAt = now + lifetime;
  return { accessToken, refreshToken, expiresAt, renewAt: expiresAt - Math.min(RENEWAL_MARGIN_MS, lifetime / 3) };
}

function lifetimeMs(jwt: string): number | null {
  try {
    const payload = jwt.split(".")[1] ?? "";
    const claims = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/"))) as Record<string, unknown>;
    return typeof claims.exp === "number" && typeof claims.iat === "number" ? (claims.exp - claims.iat) * 1000 : null;
  } catch {
    return null;
  }
}
