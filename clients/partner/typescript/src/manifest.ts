// The operations of this integration, and the manifest that registers them. A tool such as
// @apollo/generate-persisted-query-manifest writes the same from the operations in your code.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Operation {
  /** The SHA-256 of the text: a changed operation is another one. */
  id: string;
  name: string;
  type: string;
  body: string;
}

export interface Manifest {
  format: "apollo-persisted-query-manifest";
  version: 1;
  operations: Operation[];
}

const FOLDER = fileURLToPath(new URL("../../../operations", import.meta.url));

export function readManifest(folder = FOLDER): Manifest {
  const files = readdirSync(folder).filter((name) => name.endsWith(".graphql")).sort();
  const operations = files.map((file) => {
    const body = readFileSync(join(folder, file), "utf8").trim();
    const [, type = "", name = ""] = /^(query|mutation|subscription)\s+(\w+)/.exec(body) ?? [];
    if (!name) throw new Error(`${file} holds no named operation`);
    return { id: createHash("sha256").update(body).digest("hex"), name, type, body };
  });
  return { format: "apollo-persisted-query-manifest", version: 1, operations };
}

export function idOf(manifest: Manifest, name: string): string {
  const operation = manifest.operations.find((operation) => operation.name === name);
  if (!operation) throw new Error(`there is no operation ${name}`);
  return operation.id;
}
