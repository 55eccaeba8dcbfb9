//! For how long an answer holds, and for whom: the least that `@cacheControl` says of the fields that it is made of.
//!
//! The rules are those of [Apollo's hints](https://www.apollographql.com/docs/apollo-server/performance/caching): a field's
//! own hint goes before that of its type; a root field, or one that gives objects, holds for 0 seconds without a hint; any
//! other holds as long as what it is in, and so does one with `inheritMaxAge`. One thing is stricter: where an age would
//! have to be said for a field, so has `PUBLIC`; what says nothing is private.

use std::collections::{HashMap, HashSet};

use apollo_compiler::ast::{Directive, FragmentDefinition, OperationDefinition, OperationType, Selection};
use apollo_compiler::schema::{ExtendedType, FieldDefinition};
use apollo_compiler::{Name, Schema};

/// Selections nested deeper are refused when they are called; whoever publishes them is answered before that.
const NESTING_MAX: usize = 256;

/// How an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// For how many seconds it holds.
    pub max_age_seconds: u32,
    /// Whether it is the same for everyone.
    pub is_public: bool,
}

impl Policy {
    /// What can be said of every answer: the caller has to ask again.
    pub const NONE: Self = Self { max_age_seconds: 0, is_public: false };

    /// The value of `Cache-Control` (RFC 9111 §5.2.2).
    pub fn cache_control(self) -> String {
        let scope = if self.is_public { "public" } else { "private" };
        format!("{scope}, max-age={}", self.max_age_seconds)
    }

    fn restrict(&mut self, hold: &Hold) {
        if let Some(seconds) = hold.seconds {
            self.max_age_seconds = self.max_age_seconds.min(seconds);
        }
        self.is_public &= hold.is_public.unwrap_or(true);
    }
}

/// A directive as it stands in the schema.
#[derive(Debug, Clone, Copy, Default)]
struct Hint {
    seconds: Option<u32>,
    is_public: Option<bool>,
    inherits: bool,
}

/// What one field does to the answer; nothing where it goes with what it is in.
#[derive(Debug, Clone, Copy, Default)]
struct Hold {
    seconds: Option<u32>,
    is_public: Option<bool>,
}

#[derive(Debug)]
struct Field {
    hold: Hold,
    named_type: Name,
}

/// What a schema says about caching, read once.
#[derive(Debug)]
pub struct Hints {
    fields: HashMap<Name, HashMap<Name, Field>>,
    query: Option<Name>,
}

impl Hints {
    /// Reads a supergraph's or any other schema.
    pub fn of(schema: &Schema) -> Self {
        let query = schema.root_operation(OperationType::Query).cloned();
        let mut fields = HashMap::new();
        for (name, definition) in &schema.types {
            let defined = match definition {
                ExtendedType::Object(object) => &object.fields,
                ExtendedType::Interface(interface) => &interface.fields,
                _ => continue,
            };
            let is_root = query.as_ref() == Some(name);
            let of_type = defined.iter().map(|(name, field)| (name.clone(), field_of(schema, field, is_root)));
            fields.insert(name.clone(), of_type.collect::<HashMap<_, _>>());
        }
        restrict_interfaces(schema, &mut fields);
        Self { fields, query }
    }

    /// Of all answers to an operation, whatever its variables: what may be left out counts as well. Nothing can be said of
    /// mutations and subscriptions.
    pub fn policy(&self, operation: &OperationDefinition, fragments: &HashMap<&str, &FragmentDefinition>) -> Policy {
        if operation.operation_type != OperationType::Query {
            return Policy::NONE;
        }
        let mut walk = Walk { hints: self, fragments, seen: HashSet::new(), policy: None };
        walk.selections(&operation.selection_set, self.query.as_ref(), 0);
        walk.policy.unwrap_or(Policy::NONE)
    }
}

struct Walk<'w> {
    hints: &'w Hints,
    fragments: &'w HashMap<&'w str, &'w FragmentDefinition>,
    /// A fragment says the same wherever it is spread.
    seen: HashSet<&'w str>,
    /// Nothing before the first field.
    policy: Option<Policy>,
}

impl<'w> Walk<'w> {
    fn selections(&mut self, selections: &'w [Selection], parent: Option<&'w Name>, depth: usize) {
        if depth > NESTING_MAX {
            self.policy = Some(Policy::NONE);
            return;
        }
        for selection in selections {
            match selection {
                Selection::Field(field) if field.name == "__typename" => {}
                Selection::Field(field) => {
                    let known = parent.and_then(|parent| self.hints.fields.get(parent)?.get(&field.name));
                    let policy = self.policy.get_or_insert(Policy { max_age_seconds: u32::MAX, is_public: true });
                    match known {
                        Some(known) => policy.restrict(&known.hold),
                        // Introspection, and what is not in the schema.
                        None => *policy = Policy::NONE,
                    }
                    self.selections(&field.selection_set, known.map(|known| &known.named_type), depth + 1);
                }
                Selection::InlineFragment(fragment) => {
                    self.selections(&fragment.selection_set, fragment.type_condition.as_ref().or(parent), depth + 1);
                }
                Selection::FragmentSpread(spread) => {
                    if self.seen.insert(spread.fragment_name.as_str())
                        && let Some(fragment) = self.fragments.get(spread.fragment_name.as_str())
                    {
                        self.selections(&fragment.selection_set, Some(&fragment.type_condition), depth + 1);
                    }
                }
            }
        }
    }
}

fn field_of(schema: &Schema, field: &FieldDefinition, is_root: bool) -> Field {
    let named_type = field.ty.inner_named_type().clone();
    let own = field.directives.get("cacheControl").map(|hint| hint_of(hint)).unwrap_or_default();
    let (of_type, gives_objects) = match schema.types.get(&named_type) {
        Some(ExtendedType::Object(object)) => (object.directives.get("cacheControl"), true),
        Some(ExtendedType::Interface(interface)) => (interface.directives.get("cacheControl"), true),
        Some(ExtendedType::Union(union)) => (union.directives.get("cacheControl"), true),
        _ => (None, false),
    };
    let of_type = of_type.map(|hint| hint_of(hint)).unwrap_or_default();
    let seconds = own.seconds.or(of_type.seconds);
    let is_public = own.is_public.or(of_type.is_public);
    let goes_along = if gives_objects { own.inherits || of_type.inherits } else { true };
    let hold = if is_root || !goes_along {
        Hold { seconds: seconds.or(Some(0)), is_public: is_public.or(Some(false)) }
    } else {
        Hold { seconds, is_public }
    };
    Field { hold, named_type }
}

fn hint_of(directive: &Directive) -> Hint {
    let argument = |name: &str| directive.specified_argument_by_name(name);
    // An age that is no age is none: the answer is not kept.
    let seconds = argument("maxAge").map(|age| age.to_i32().and_then(|age| u32::try_from(age).ok()).unwrap_or(0));
    let scope = argument("scope").and_then(|scope| scope.as_str().or_else(|| Some(scope.as_enum()?.as_str())));
    Hint {
        seconds,
        is_public: scope.map(|scope| scope == "PUBLIC"),
        inherits: argument("inheritMaxAge").and_then(|inherits| inherits.to_bool()).unwrap_or_default(),
    }
}

/// A field that is asked of an interface is asked of any of the objects that have it.
fn restrict_interfaces(schema: &Schema, fields: &mut HashMap<Name, HashMap<Name, Field>>) {
    for (interface, implementers) in schema.implementers_map() {
        let Some(mut asked) = fields.remove(&interface) else { continue };
        for (name, field) in &mut asked {
            for object in &implementers.objects {
                let Some(Field { hold, .. }) = fields.get(object).and_then(|fields| fields.get(name)) else { continue };
                field.hold.seconds = field.hold.seconds.into_iter().chain(hold.seconds).min();
                let both = field.hold.is_public.into_iter().chain(hold.is_public);
                field.hold.is_public = both.reduce(|one, other| one && other);
            }
        }
        fields.insert(interface, asked);
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use apollo_compiler::ast::{Definition, Document};

    use super::*;

    const SCHEMA: &str = r#"
        directive @cacheControl(maxAge: Int, scope: String, inheritMaxAge: Boolean)
            on FIELD_DEFINITION | OBJECT | INTERFACE | UNION
        type Query {
            me: User
            city: City @cacheControl(maxAge: 3600, scope: "PUBLIC")
            cities: CityConnection @cacheControl(maxAge: 600, scope: "PUBLIC")
            now: Int
            version: Int @cacheControl(maxAge: 60, scope: "PUBLIC")
            aged: Int @cacheControl(maxAge: 60)
            hinted: Named @cacheControl(maxAge: 90, scope: "PUBLIC")
            found: Found @cacheControl(maxAge: 90, scope: "PUBLIC")
            odd: Int @cacheControl(maxAge: -5, scope: "PUBLIC")
        }
        type Mutation { touch: Int @cacheControl(maxAge: 60, scope: "PUBLIC") }
        interface Named { name: String }
        type User implements Named @cacheControl(maxAge: 30, scope: "PRIVATE") {
            name: String
            friend: User
            home: City
            mood: String @cacheControl(maxAge: 5)
        }
        type City implements Named {
            name: String @cacheControl(maxAge: 20)
            people: Int
            mayor: User @cacheControl(inheritMaxAge: true, scope: "PUBLIC")
            twin: City @cacheControl(inheritMaxAge: true)
        }
        type CityConnection { nodes: [City] @cacheControl(inheritMaxAge: true) pageInfo: PageInfo }
        type PageInfo @cacheControl(inheritMaxAge: true) { more: Boolean }
        union Found = User | City
    "#;

    fn policy(text: &str) -> String {
        let hints = Hints::of(&Schema::parse(SCHEMA, "schema.graphql").unwrap());
        let document = Document::parse(text, "operation.graphql").unwrap();
        let mut fragments = HashMap::new();
        let mut operation = None;
        for definition in &document.definitions {
            match definition {
                Definition::FragmentDefinition(fragment) => {
                    fragments.insert(fragment.name.as_str(), &**fragment);
                }
                Definition::OperationDefinition(found) => operation = Some(found),
                _ => {}
            }
        }
        hints.policy(operation.unwrap(), &fragments).cache_control()
    }

    #[test]
    fn the_shortest_age_counts_and_one_private_field_is_enough() {
        for (text, expected) in [
            ("{ city { people } }", "public, max-age=3600"),
            ("{ city { people } version }", "public, max-age=60"),
            ("{ city { people name } }", "public, max-age=20"),
            ("{ me { name } }", "private, max-age=30"),
            ("{ me { name mood } }", "private, max-age=5"),
            ("{ me { name } version }", "private, max-age=30"),
            ("{ aged version }", "private, max-age=60"),
        ] {
            assert_eq!(policy(text), expected, "{text}");
        }
    }

    #[test]
    fn what_says_nothing_is_not_kept() {
        for text in [
            "{ now }",
            "{ version now }",
            "{ me { home { people } } }",
            "{ odd }",
            "{ __typename }",
            "{ version __schema { description } }",
            "{ version nothing }",
            "mutation { touch }",
        ] {
            assert!(policy(text).ends_with(", max-age=0"), "{text}: {}", policy(text));
        }
        assert_eq!(policy("{ odd }"), "public, max-age=0");
    }

    #[test]
    fn what_inherits_holds_as_long_as_what_it_is_in() {
        for (text, expected) in [
            ("{ cities { nodes { people twin { people } } pageInfo { more } } }", "public, max-age=600"),
            ("{ city { mayor { name } } }", "public, max-age=30"),
        ] {
            assert_eq!(policy(text), expected, "{text}");
        }
    }

    #[test]
    fn fragments_count_wherever_they_are_and_a_circle_ends() {
        for (text, expected) in [
            ("{ ...F } fragment F on Query { version ... { city { people } } }", "public, max-age=60"),
            ("{ me { ...F } } fragment F on User { friend { ...F } mood }", "private, max-age=5"),
            ("{ version ... @include(if: false) { now } }", "private, max-age=0"),
            ("{ found { ... on City { people } ... on User { mood } } }", "public, max-age=5"),
        ] {
            assert_eq!(policy(text), expected, "{text}");
        }
    }

    #[test]
    fn what_nests_too_deep_is_not_kept() {
        let mut text = "{ version ...F0 }".to_owned();
        for number in 0..1_000 {
            let _ = write!(text, " fragment F{number} on Query {{ version ...F{} }}", number + 1);
        }
        let _ = write!(text, " fragment F1000 on Query {{ version }}");
        assert_eq!(policy(&text), "private, max-age=0");
    }

    #[test]
    fn an_interface_holds_no_longer_than_any_of_its_objects() {
        assert_eq!(policy("{ hinted { name } }"), "public, max-age=20");
    }
}
