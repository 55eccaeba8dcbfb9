// The integration as a program: publish, me, matches, follow.
import { randomUUID } from "node:crypto";

import { Client, type Page } from "./client.js";
import { Refused } from "./errors.js";
import { idOf, readManifest } from "./manifest.js";
import { settingsFrom } from "./settings.js";
import { follow } from "./stream.js";

interface User {
  id: string;
  displayName: string;
}
interface Match {
  id: string;
  with: User;
}
type MatchEvent =
  | { __typename: "MatchCreated"; match: Match }
  | { __typename: "MatchEnded"; matchId: string }
  | { __typename: "StreamReset"; reason: string };

const PAGE = 2;
const manifest = readManifest();
const say = (line: unknown): void => console.log(JSON.stringify(line));
const note = (line: unknown): void => console.error(JSON.stringify(line));

/** Why something has to be done once more, for whoever reads along. */
function told(reason: unknown): Record<string, unknown> {
  if (reason instanceof Refused) return { refused: reason.code, retryAfterSeconds: reason.retryAfterSeconds };
  return { failed: reason instanceof Error ? reason.message : reason };
}

async function publish(client: Client): Promise<void> {
  const report = await client.publish(manifest, "typescript-example", process.argv[3] ?? randomUUID());
  say(report);
  if (!report.ok) process.exitCode = 1;
}

async function me(client: Client): Promise<void> {
  type Me = { me: { user: User } };
  const id = idOf(manifest, "Me");
  const called = await client.call<Me>(id);
  await client.get<Me>(id);
  const again = await client.get<Me>(id);
  say({ user: called.data.me.user, unchanged: again.unchanged, limits: again.limits });
}

async function matches(client: Client): Promise<void> {
  type Matches = { matches: Page<Match> };
  for await (const match of client.nodes(idOf(manifest, "Matches"), PAGE, (data: Matches) => data.matches)) say({ match });
}

async function followMatches(client: Client): Promise<void> {
  const events = follow<{ matchEvents: MatchEvent }>(client.settings, idOf(manifest, "MatchEvents"), {}, {
    after: process.argv[3] ?? null,
    onStart: (cursor) => say({ following: true, cursor }),
    onLost: (reason) => note({ lost: told(reason) }),
  });
  for await (const { data, errors, cursor } of events) {
    say({ event: data?.matchEvents ?? null, cursor, ...(errors ? { errors } : {}) });
    // What was missed is kept no longer: read the state, and the stream goes on from here.
    if (data?.matchEvents.__typename === "StreamReset") await matches(client);
  }
}

const commands: Record<string, (client: Client) => Promise<void>> = { publish, me, matches, follow: followMatches };

try {
  const command = commands[process.argv[2] ?? ""];
  if (!command) throw new Error(`one of ${Object.keys(commands).join(", ")} is wanted`);
  const onWait = (seconds: number, reason: unknown): void => note({ waits: seconds, ...told(reason) });
  await command(new Client({ ...settingsFrom(process.env), onWait }));
} catch (error) {
  if (error instanceof Refused) {
    note({ refused: error.code, status: error.status, message: error.message, retryAfterSeconds: error.retryAfterSeconds });
    process.exitCode = error.isAboutTheKey ? 3 : 1;
  } else {
    note({ failed: String(error) });
    process.exitCode = 1;
  }
}
