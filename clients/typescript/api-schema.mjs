// From a supergraph to what clients see of it.
import { Kind, isSpecifiedDirective, GraphQLDeprecatedDirective, GraphQLSpecifiedByDirective, visit } from "graphql";

/** Names that composition adds; see https://specs.apollo.dev/join and https://specs.apollo.dev/link. */
const MACHINERY = /^(join|link|core|federation|context|connect|cost|policy|tag|inaccessible|authenticated|requiresScopes)__/;

const isInaccessible = (node) => node.directives?.some(({ name }) => name.value === "inaccessible") ?? false;

/**
 * The API schema of a supergraph: without composition's own types and directives, and without what is `@inaccessible`.
 * A document that holds neither comes back as it is.
 * @param {import("graphql").DocumentNode} supergraph
 * @returns {import("graphql").DocumentNode}
 */
export function apiSchema(supergraph) {
  const hidden = new Set(
    supergraph.definitions
      .filter((node) => "name" in node && node.name && (MACHINERY.test(node.name.value) || isInaccessible(node)))
      .map((node) => node.name.value),
  );
  const unlessHidden = (node) => (isInaccessible(node) || hidden.has(node.name.value) ? null : undefined);
  const visible = visit(supergraph, {
    DirectiveDefinition: () => null,
    enter(node) {
      if (isInaccessible(node)) return null;
      return undefined;
    },
    NamedType: (node) => (hidden.has(node.name.value) ? null : undefined),
    ScalarTypeDefinition: unlessHidden,
    EnumTypeDefinition: unlessHidden,
    InputObjectTypeDefinition: unlessHidden,
    ObjectTypeDefinition: unlessHidden,
  });
  // Only now, so that `@inaccessible` could be seen above.
  return visit(visible, { Directive: (node) => (isSpecified(node.name.value) ? undefined : null) });
}

function isSpecified(name) {
  return [GraphQLDeprecatedDirective, GraphQLSpecifiedByDirective].some((directive) => directive.name === name) || name === "oneOf";
}
