// The operations of this package as a manifest of persisted operations, in the form that Apollo's build tools write and
// the router reads. Run as a program, it writes persisted-query-manifest.json.
import { createHash } from "node:crypto";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { addTypenameToDocument } from "@apollo/client/utilities";
import { parse, print, visit } from "graphql";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/**
 * The documents in src/operations, by their files.
 * @returns {Promise<{ location: string, document: import("graphql").DocumentNode }[]>}
 */
export async function readDocuments() {
  const folder = here("./src/operations/");
  const names = (await readdir(folder)).filter((name) => name.endsWith(".graphql")).sort();
  return Promise.all(
    names.map(async (name) => ({ location: folder + name, document: parse(await readFile(folder + name, "utf8")) })),
  );
}

/**
 * Each operation with the fragments that it needs, and with `__typename` wherever the caches of clients ask for it.
 * @param {import("graphql").DocumentNode[]} documents
 */
export function manifestOf(documents) {
  const definitions = documents.flatMap((document) => document.definitions);
  const fragments = new Map(
    definitions.filter((node) => node.kind === "FragmentDefinition").map((node) => [node.name.value, node]),
  );
  const operations = definitions
    .filter((node) => node.kind === "OperationDefinition")
    .map((operation) => {
      const used = [...namesUsed(operation, fragments)].sort().map((name) => fragments.get(name));
      const document = addTypenameToDocument({ kind: "Document", definitions: [...used, operation] });
      const body = print(document);
      const id = createHash("sha256").update(body).digest("hex");
      return { id, name: operation.name.value, type: operation.operation, body };
    })
    .sort((one, other) => (one.name < other.name ? -1 : 1));
  return { format: "apollo-persisted-query-manifest", version: 1, operations };
}

/** The names of all fragments that are spread in a definition, and in those. */
function namesUsed(definition, fragments, names = new Set()) {
  visit(definition, {
    FragmentSpread(spread) {
      const name = spread.name.value;
      if (names.has(name)) return;
      names.add(name);
      const fragment = fragments.get(name);
      if (!fragment) throw new Error(`there is no fragment ${name}`);
      namesUsed(fragment, fragments, names);
    },
  });
  return names;
}

/** The manifest as it stands in its file. */
export async function manifestText() {
  const documents = (await readDocuments()).map(({ document }) => document);
  return `${JSON.stringify(manifestOf(documents), null, 2)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await writeFile(here("./persisted-query-manifest.json"), await manifestText());
}
