import assert from "node:assert/strict";
import { test } from "node:test";

import { type DocumentNode, parse, print } from "graphql";

const { apiSchema } = (await import(new URL("../../../api-schema.mjs", import.meta.url).href)) as {
  apiSchema: (supergraph: DocumentNode) => DocumentNode;
};

test("the API schema holds nothing of composition and nothing inaccessible", () => {
  const supergraph = parse(`
    schema @link(url: "https://specs.apollo.dev/link/v1.0") @link(url: "https://specs.apollo.dev/join/v0.5", for: EXECUTION) { query: Query }
    directive @join__type(graph: join__Graph!, key: join__FieldSet) repeatable on OBJECT
    directive @link(url: String, for: link__Purpose, import: [link__Import]) repeatable on SCHEMA
    directive @inaccessible on FIELD_DEFINITION | OBJECT
    scalar join__FieldSet
    scalar link__Import
    enum link__Purpose { SECURITY EXECUTION }
    enum join__Graph { ACCOUNTS @join__graph(name: "accounts", url: "http://127.0.0.1:4001/") }
    "All that can be asked."
    type Query @join__type(graph: ACCOUNTS) { me: User! old: Int @deprecated(reason: "gone") secret: Secret @inaccessible }
    type User @join__type(graph: ACCOUNTS, key: "id") { id: ID! hash: String @inaccessible }
    type Secret @inaccessible { id: ID! }
    union Any @join__unionMember(graph: ACCOUNTS, member: "User") = User | Secret
  `);
  const expected = `
    schema { query: Query }
    "All that can be asked."
    type Query { me: User! old: Int @deprecated(reason: "gone") }
    type User { id: ID! }
    union Any = User
  `;
  assert.equal(print(apiSchema(supergraph)), print(parse(expected)));
});
