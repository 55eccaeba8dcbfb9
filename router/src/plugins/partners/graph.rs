//! What the supergraph says about an operation without planning it: whose its root fields are, how long an answer holds.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_compiler::ast::{Definition, Document, FragmentDefinition, OperationDefinition, OperationType, Selection};
use apollo_compiler::parser::Parser;
use apollo_compiler::schema::{Component, ExtendedType, FieldDefinition, ObjectType};
use parking_lot::Mutex;
use tower::BoxError;
use velvet_edge::caching::{Hints, Policy};
use velvet_edge::scope::Needed;

use crate::check::{RECURSION_MAX, TOKENS_MAX};

/// Operations whose root fields are remembered.
const ROOTS_MAX: usize = 10_000;

/// What an operation is, as far as its text tells without the schema's types.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) kind: OperationType,
    pub(super) name: Option<String>,
    /// What each of its root fields asks for, with the field's name; `__typename` asks for nothing.
    pub(super) fields: Vec<(String, Needed)>,
    /// How its answers may be kept.
    caching: Policy,
}

impl Roots {
    /// Whether those scopes are enough for all of it.
    pub(super) fn are_covered_by(&self, scopes: &[String]) -> bool {
        self.fields.iter().all(|(_, needed)| needed.is_covered_by(scopes))
    }

    /// The scopes that the operation asks for; of several that would do, the first.
    pub(super) fn scopes(&self) -> BTreeSet<&str> {
        self.fields.iter().filter_map(|(_, needed)| needed.any_of.first().map(String::as_str)).collect()
    }
}

/// Why a text is not one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("the operation does not parse")]
    Syntax,
    #[error("exactly one operation may stand in a text")]
    NotOne,
}

/// The owners of root fields. One per supergraph schema.
pub(super) struct Graph {
    owners: HashMap<(OperationType, String), Vec<String>>,
    hints: Hints,
    /// By text.
    known: Mutex<HashMap<Arc<str>, Arc<Roots>>>,
}

impl Graph {
    pub(super) fn new(sdl: &str) -> Result<Self, BoxError> {
        let schema = Schema::parse(sdl, "supergraph.graphql").map_err(|_| "the supergraph's schema does not parse")?;
        let names = subgraph_names(&schema);
        let mut owners = HashMap::new();
        for kind in [OperationType::Query, OperationType::Mutation, OperationType::Subscription] {
            let Some(root) = schema.root_operation(kind).and_then(|name| schema.get_object(name)) else {
                continue;
            };
            for (name, field) in &root.fields {
                owners.insert((kind, name.to_string()), owners_of(root, field, &names));
            }
        }
        Ok(Self { owners, hints: Hints::of(&schema), known: Mutex::default() })
    }

    /// The root fields of a registered operation's text; remembered.
    pub(super) fn roots(&self, text: &Arc<str>) -> Result<Arc<Roots>, Error> {
        if let Some(roots) = self.known.lock().get(text) {
            return Ok(Arc::clone(roots));
        }
        let roots = Arc::new(self.read(text)?);
        let mut known = self.known.lock();
        if known.len() >= ROOTS_MAX {
            known.clear();
        }
        known.insert(Arc::clone(text), Arc::clone(&roots));
        Ok(roots)
    }

    /// How answers to a registered operation may be kept.
    pub(super) fn caching(&self, text: &Arc<str>) -> Policy {
        self.roots(text).map_or(Policy::NONE, |roots| roots.caching)
    }

    /// The root fields of a text's one operation.
    pub(super) fn read(&self, text: &str) -> Result<Roots, Error> {
        let document = Parser::new()
            .token_limit(TOKENS_MAX)
            .recursion_limit(RECURSION_MAX)
            .parse_ast(text, "operation.graphql")
            .map_err(|_| Error::Syntax)?;
        let operation = only_operation(&document)?;
        let mut names = BTreeSet::new();
        let fragments = fragments(&document);
        root_names(&operation.selection_set, &fragments, &mut HashSet::new(), &mut names);
        let kind = operation.operation_type;
        let fields = names.into_iter().filter(|name| name != "__typename");
        Ok(Roots {
            kind,
            caching: self.hints.policy(operation, &fragments),
            name: operation.name.as_ref().map(ToString::to_string),
            fields: fields
                .map(|name| {
                    let owners = self.owners.get(&(kind, name.clone()));
                    let any_of = owners.into_iter().flatten().map(|owner| format!("{owner}:{kind}")).collect();
                    (name, Needed { any_of })
                })
                .collect(),
        })
    }
}

fn only_operation(document: &Document) -> Result<&OperationDefinition, Error> {
    let mut operations = document.definitions.iter().filter_map(|definition| match definition {
        Definition::OperationDefinition(operation) => Some(&**operation),
        _ => None,
    });
    match (operations.next(), operations.next()) {
        (Some(operation), None) => Ok(operation),
        _ => Err(Error::NotOne),
    }
}

fn fragments(document: &Document) -> HashMap<&str, &FragmentDefinition> {
    let fragments = document.definitions.iter().filter_map(|definition| match definition {
        Definition::FragmentDefinition(fragment) => Some((fragment.name.as_str(), &**fragment)),
        _ => None,
    });
    fragments.collect()
}

/// Fields of the root type, in fragments as well; there is no narrower type there.
fn root_names<'d>(
    selections: &'d [Selection],
    fragments: &HashMap<&str, &'d FragmentDefinition>,
    seen: &mut HashSet<&'d str>,
    names: &mut BTreeSet<String>,
) {
    for selection in selections {
        match selection {
            Selection::Field(field) => {
                names.insert(field.name.to_string());
            }
            Selection::InlineFragment(fragment) => root_names(&fragment.selection_set, fragments, seen, names),
            Selection::FragmentSpread(spread) => {
                // Fragments of a text that is not valid may name each other in a circle.
                if seen.insert(spread.fragment_name.as_str())
                    && let Some(fragment) = fragments.get(spread.fragment_name.as_str())
                {
                    root_names(&fragment.selection_set, fragments, seen, names);
                }
            }
        }
    }
}

/// The subgraphs' names by the values that stand for them in the supergraph.
fn subgraph_names(schema: &Schema) -> HashMap<String, String> {
    let Some(ExtendedType::Enum(graphs)) = schema.types.get("join__Graph") else {
        return HashMap::new();
    };
    let named = graphs.values.iter().filter_map(|(value, definition)| {
        let graph = definition.directives.get("join__graph")?;
        let name = graph.specified_argument_by_name("name")?.as_str()?;
        Some((value.to_string(), name.to_owned()))
    });
    named.collect()
}

/// The subgraphs that a root field can be asked of: those that the field names, or else all that know the type.
fn owners_of(root: &ObjectType, field: &Component<FieldDefinition>, names: &HashMap<String, String>) -> Vec<String> {
    let graph = |directive: &apollo_compiler::ast::Directive| {
        let value = directive.specified_argument_by_name("graph")?.as_enum()?;
        names.get(value.as_str()).cloned()
    };
    let truth = |directive: &apollo_compiler::ast::Directive, name: &str| {
        directive.specified_argument_by_name(name).and_then(|value| value.to_bool()) == Some(true)
    };
    let on_field: BTreeSet<String> = field
        .directives
        .get_all("join__field")
        .filter(|directive| !truth(directive, "external"))
        .filter_map(|directive| graph(directive))
        .collect();
    if !on_field.is_empty() {
        return on_field.into_iter().collect();
    }
    let on_type: BTreeSet<String> =
        root.directives.get_all("join__type").filter_map(|directive| graph(directive)).collect();
    on_type.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        Graph::new(
            r#"
            schema { query: Query subscription: Subscription }
            enum join__Graph { A @join__graph(name: "a", url: "") B @join__graph(name: "b", url: "") }
            type Query @join__type(graph: A) @join__type(graph: B) {
              one: Int @join__field(graph: A)
              other: Int @join__field(graph: B)
              shared: Int @join__field(graph: A) @join__field(graph: B)
              lent: Int @join__field(graph: A, external: true) @join__field(graph: B)
              everywhere: Int
            }
            type Subscription @join__type(graph: B) { news: Int }
            "#,
        )
        .unwrap()
    }

    fn needed(text: &str) -> Vec<String> {
        let roots = graph().roots(&Arc::from(text)).unwrap();
        roots.fields.iter().map(|(name, needed)| format!("{name}={}", needed.any_of.join(","))).collect()
    }

    #[test]
    fn each_root_field_asks_for_its_owner() {
        assert_eq!(needed("{ a: one other __typename }"), ["one=a:query", "other=b:query"]);
        assert_eq!(needed("{ shared lent }"), ["lent=b:query", "shared=a:query,b:query"]);
        assert_eq!(needed("{ everywhere }"), ["everywhere=a:query,b:query"]);
        assert_eq!(needed("subscription { news }"), ["news=b:subscription"]);
        assert_eq!(needed("{ ... { one } ...F } fragment F on Query { other ...F }"), ["one=a:query", "other=b:query"]);
    }

    #[test]
    fn what_nobody_offers_needs_every_scope() {
        assert_eq!(needed("{ __schema { description } nothing }"), ["__schema=", "nothing="]);
        let roots = graph().roots(&Arc::from("{ one __schema { description } }")).unwrap();
        assert!(!roots.are_covered_by(&["a:query".to_owned()]));
        assert!(roots.are_covered_by(&["*".to_owned()]));
    }

    #[test]
    fn a_text_holds_exactly_one_operation() {
        let refused = |text: &str| graph().roots(&Arc::from(text)).unwrap_err();
        assert_eq!(refused("query A { one } query B { one }"), Error::NotOne);
        assert_eq!(refused("fragment F on Query { one }"), Error::NotOne);
        assert_eq!(refused("{ one"), Error::Syntax);
    }
}
