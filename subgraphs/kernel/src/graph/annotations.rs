//! What a schema tells the router besides its types: what a field costs, how long a list is, how long an answer holds.
//!
//! The directives come from links of our own. Those of Apollo's with the same names belong to its licensed features, and
//! a schema that links them would stop the router.

use async_graphql::TypeDirective;
use std::fmt::Write as _;

/// Where the directives come from, and which: in this order they are written.
const LINKS: [(&str, &[&str]); 2] =
    [("https://velvet.dev/caching/v1.0", &["cacheControl"]), ("https://velvet.dev/cost/v1.0", &["cost", "listSize"])];

/// What one value costs, in place of the 1 of an object and the 0 of a scalar: a whole number of at least 0.
#[TypeDirective(
    location = "ArgumentDefinition",
    location = "Enum",
    location = "FieldDefinition",
    location = "Object",
    composable = "https://velvet.dev/cost/v1.0"
)]
pub fn cost(weight: String) {}

/// How long a list is, as the IBM cost specification has it.
#[TypeDirective(location = "FieldDefinition", name = "listSize", composable = "https://velvet.dev/cost/v1.0")]
pub fn list_size(
    assumed_size: Option<i32>,
    slicing_arguments: Option<Vec<String>>,
    sized_fields: Option<Vec<String>>,
    require_one_slicing_argument: Option<bool>,
) {
}

/// For how many seconds an answer with this in it holds, and for whom: `PUBLIC` or, when nothing is said, `PRIVATE`.
/// With `inheritMaxAge` it holds as long as what it is in.
#[TypeDirective(
    location = "FieldDefinition",
    location = "Interface",
    location = "Object",
    name = "cacheControl",
    composable = "https://velvet.dev/caching/v1.0"
)]
pub fn cache_control(max_age: Option<i32>, scope: Option<String>, inherit_max_age: Option<bool>) {}

/// Adds the links of the directives that a schema has, and has them composed. The library writes them as well, but in an
/// order that changes from run to run.
pub(crate) fn link(sdl: &mut String) {
    for (url, names) in LINKS {
        let used: Vec<_> = names.iter().filter(|name| sdl.contains(&format!("\ndirective @{name}("))).collect();
        if used.is_empty() {
            continue;
        }
        let imports: Vec<_> = used.iter().map(|name| format!("\"@{name}\"")).collect();
        let _ = write!(sdl, "extend schema @link(\n\turl: \"{url}\",\n\timport: [{}]\n)", imports.join(", "));
        for name in &imports {
            let _ = write!(sdl, " @composeDirective(name: {name})");
        }
        sdl.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Subgraph;
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Schema};
    use std::sync::Arc;

    struct Plain;

    #[Object(name = "Query")]
    impl Plain {
        async fn one(&self) -> i32 {
            1
        }
    }

    struct Annotated;

    #[Object(name = "Query")]
    impl Annotated {
        #[graphql(directive = cache_control::apply(Some(60), Some("PUBLIC".to_owned()), None))]
        async fn one(&self) -> i32 {
            1
        }
        #[graphql(directive = list_size::apply(Some(5), None, None, None), directive = cost::apply("3".to_owned()))]
        async fn many(&self) -> Vec<i32> {
            Vec::new()
        }
    }

    fn sdl(query: impl async_graphql::ObjectType + 'static) -> String {
        let schema = Schema::build(query, EmptyMutation, EmptySubscription).enable_federation().finish();
        Subgraph { name: "test", schema, decorate: Arc::new(|request| request) }.sdl()
    }

    #[test]
    fn what_a_schema_uses_is_linked_and_composed() {
        let annotated = sdl(Annotated);
        for part in [
            "one: Int! @cacheControl(maxAge: 60, scope: \"PUBLIC\")",
            "many: [Int!]! @listSize(assumedSize: 5) @cost(weight: \"3\")",
            "directive @cacheControl(maxAge: Int, scope: String, inheritMaxAge: Boolean) on",
            "url: \"https://velvet.dev/caching/v1.0\",\n\timport: [\"@cacheControl\"]\n) @composeDirective(name: \"@cacheControl\")",
            "import: [\"@cost\", \"@listSize\"]\n) @composeDirective(name: \"@cost\") @composeDirective(name: \"@listSize\")",
        ] {
            assert!(annotated.contains(part), "{part} is missing in\n{annotated}");
        }
    }

    #[test]
    fn a_schema_without_annotations_is_left_as_it_is() {
        assert!(!sdl(Plain).contains("velvet.dev"));
    }
}
