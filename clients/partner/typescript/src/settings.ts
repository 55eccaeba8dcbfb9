import { readFileSync } from "node:fs";

/** Where the graph is, and who calls. */
export interface Settings {
  /** Such as https://graph.example */
  url: string;
  /** Asked for each call and each connection, so that a new key is taken as soon as it is in place. */
  key: () => string;
  /** Whether calls are signed. */
  sign: boolean;
  /** Waits; replaced in tests. */
  sleep: (seconds: number) => Promise<void>;
  /** Told before a call waits to be sent again, and what for. */
  onWait?: (seconds: number, reason: unknown) => void;
}

export const sleep = (seconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
  });

export function settingsFrom(env: NodeJS.ProcessEnv): Settings {
  const { VELVET_URL: url, VELVET_PARTNER_KEY: key, VELVET_PARTNER_KEY_FILE: file } = env;
  if (!url) throw new Error("VELVET_URL says where the graph is");
  if (!key && !file) throw new Error("VELVET_PARTNER_KEY is the key, or VELVET_PARTNER_KEY_FILE the file that it stands in");
  return {
    url: url.replace(/\/$/, ""),
    key: () => key ?? readFileSync(file ?? "", "utf8").trim(),
    sign: env.VELVET_SIGN === "1",
    sleep,
  };
}
