//! `velvet-router compose`.

use crate::process::{compose, run_compose};
use crate::subgraphs::{World, schemas};

#[test]
fn the_same_schemas_compose_to_the_same_bytes() {
    let world = World::new();
    let compose_once = || {
        let folder = tempfile::tempdir().unwrap();
        std::fs::read_to_string(compose(folder.path(), &schemas(&world), "http://api:1")).unwrap()
    };
    let first = compose_once();
    assert!(first.contains(r#"MATCHING @join__graph(name: "matching", url: "http://api:1/matching/graphql")"#));
    assert_eq!(first, compose_once());
}

#[test]
fn what_does_not_compose_is_said_with_the_subgraphs_name() {
    let folder = tempfile::tempdir().unwrap();
    let told = |schemas: &[(&str, &str)]| {
        let schemas: Vec<_> = schemas.iter().map(|(name, sdl)| (*name, (*sdl).to_owned())).collect();
        let output = run_compose(folder.path(), &schemas, "http://api:1");
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let unparsable = told(&[("good", "type Query { a: Int }"), ("bad", "type Query {")]);
    assert!(unparsable.contains("subgraph bad"), "{unparsable}");
    let federated = "extend schema @link(url: \"https://specs.apollo.dev/federation/v2.5\") type Query { a: Int }";
    let clash = told(&[("one", federated), ("two", federated)]);
    assert!(clash.contains("INVALID_FIELD_SHARING") && clash.contains("\"one\""), "{clash}");
    assert!(!folder.path().join("schema/supergraph.graphql").exists());
}
