// The router against the audits of GraphQL over HTTP. Needs a running stack: VELVET_ROUTER_URL.
import assert from "node:assert/strict";
import { test } from "node:test";

import { serverAudits } from "graphql-http";

import { graphUrl, onTheStack } from "./kit.js";

// Asked for by the router of everything that a page could send unasked; the audits know nothing of it.
const preflighted: typeof fetch = (url, init) =>
  fetch(url, { ...init, headers: { "apollo-require-preflight": "1", ...init?.headers } });

for (const { id, name, fn } of serverAudits({ url: graphUrl, fetchFn: preflighted })) {
  if (!/\b(MUST|SHOULD)\b/.test(name)) continue;
  test(`${id}: ${name}`, onTheStack, async () => {
    const result = await fn();
    assert.equal(result.status, "ok", "reason" in result ? result.reason : "");
  });
}
