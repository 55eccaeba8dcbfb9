import assert from "node:assert/strict";
import { test } from "node:test";

import { sign, signed, signingSecret } from "../src/signing.js";

const KEY = `vk_test_abcdefghijkl_${"A".repeat(43)}`;

test("the known answer of the documentation", () => {
  assert.equal(signingSecret(KEY), "297b783e240afdfce6683b464ebf3e853861b740e38eded4963571370ab72d38");
  const request = { method: "POST", pathAndQuery: "/graphql?a=b", body: '{"documentId":"me"}' };
  const signature = sign(KEY, request, 1_790_000_000, "0123456789abcdef");
  assert.equal(signature, "18b59975eb62b977716a18b7419b37db6ce1c87ae0b2fde13471ec58fb9a8fd9");
});

test("each signature is another, and what it is for changes it", () => {
  const request = { method: "GET", pathAndQuery: "/graphql/op/a", body: "" };
  const [one, other] = [signed(KEY, request), signed(KEY, request)];
  assert.notEqual(one.nonce, other.nonce);
  assert.match(one.nonce, /^[A-Za-z0-9_-]{16,64}$/);
  assert.equal(one.signature, sign(KEY, request, one.timestamp, one.nonce));
  for (const changed of [{ method: "POST" }, { pathAndQuery: "/graphql/op/b" }, { body: "x" }]) {
    assert.notEqual(one.signature, sign(KEY, { ...request, ...changed }, one.timestamp, one.nonce));
  }
});
