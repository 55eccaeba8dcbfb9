//! `velvet-router check`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use velvet_edge::sha256_hex;

use crate::calls::LONG_AGO;
use crate::process::BINARY;
use crate::registry::Registry;

const TODAY: &str = r#"
    extend schema
        @link(url: "https://specs.apollo.dev/federation/v2.5", import: ["@key", "@composeDirective"])
        @link(url: "https://velvet.dev/cost/v1.0", import: ["@cost"])
        @composeDirective(name: "@cost")
    directive @cost(weight: String!) on FIELD_DEFINITION
    type Query {
        me: User
        search(size: Size, filter: Filter, near: Int): [User!]!
        rated: Int! @cost(weight: "5")
    }
    type Mutation { rename(input: RenameInput!): User }
    type User @key(fields: "id") { id: ID! name: String! bio: String side: Side old: Int @deprecated(reason: "use side") }
    enum Size { SMALL LARGE HUGE }
    enum Side { LEFT RIGHT }
    input Filter { size: Size text: String }
    input RenameInput { name: String! }
"#;

const ME: &str = "query Me {\n  me {\n    id\n    bio\n  }\n}";
const NAMES: &str = "query Names { me { id name } }";
const HUGE: &str = "query Huge { search(size: HUGE) { id } }";
const FILTERED: &str = "query Filtered($filter: Filter) { search(filter: $filter) { id side } }";
const RENAME: &str = "mutation Rename($input: RenameInput!) { rename(input: $input) { id } }";
const RATED: &str = "query Rated { rated }";
const OLD: &str = "query Old { me { old } }";

/// A folder with the supergraph of today, the one that is to come, and what is registered.
struct Workshop {
    folder: TempDir,
}

struct Checked {
    code: i32,
    report: Value,
}

impl Workshop {
    /// `acme` has all operations but `Names`, which is `other`'s.
    fn new() -> Self {
        let workshop = Self { folder: tempfile::tempdir().unwrap() };
        workshop.compose("today", TODAY);
        let of = |partner: &str, id: &str, name: &str, body: &str| json!({ "partnerId": partner, "id": id, "name": name, "body": body, "cost": 5, "clientName": "web" });
        let operations = json!([
            of("p1", "me", "Me", ME),
            of("p2", "names", "Names", NAMES),
            of("p1", "huge", "Huge", HUGE),
            of("p1", "filtered", "Filtered", FILTERED),
            of("p1", "rename", "Rename", RENAME),
            of("p1", "rated", "Rated", RATED),
        ]);
        let export = json!({
            "partners": [{ "id": "p1", "slug": "acme" }, { "id": "p2", "slug": "other" }],
            "operations": operations,
            "usage": { "acme/me": { "calls": 7, "lastCalledAt": LONG_AGO } },
        });
        workshop.write("registry.json", &export.to_string());
        workshop
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Writes a list of one subgraph under this name.
    fn compose(&self, name: &str, sdl: &str) {
        self.write(&format!("{name}.graphql"), sdl);
        let subgraph = format!("    routing_url: http://api/one\n    schema:\n      file: {name}.graphql\n");
        self.write(&format!("{name}.yaml"), &format!("subgraphs:\n  one:\n{subgraph}"));
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(BINARY).arg("check").args(arguments).current_dir(self.path()).output().unwrap()
    }

    /// Holds what is registered against the schema of today with this changed in it.
    fn check(&self, what: &str, into: &str, arguments: &[&str]) -> Checked {
        assert!(TODAY.contains(what), "{what}");
        self.compose("next", &TODAY.replace(what, into));
        let all = ["--against", "next.yaml", "--registry", "registry.json", "--json"];
        let output = self.run(&[&all, arguments].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let report = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
        Checked { code: output.status.code().unwrap(), report }
    }
}

impl Checked {
    /// The ids of the operations that would break, with what is said of them.
    fn broken(&self) -> Vec<(String, Vec<String>)> {
        assert_eq!(self.code, i32::from(!self.report["ok"].as_bool().unwrap()));
        told(&self.report["breaks"])
    }
}

fn told(findings: &Value) -> Vec<(String, Vec<String>)> {
    let messages = |finding: &Value| {
        let problems = finding["problems"].as_array().unwrap().iter();
        problems.map(|problem| problem["message"].as_str().unwrap().to_owned()).collect()
    };
    let findings = findings.as_array().unwrap().iter();
    findings.map(|finding| (finding["id"].as_str().unwrap().to_owned(), messages(finding))).collect()
}

#[test]
fn what_breaks_one_partner_is_refused_with_the_operation_and_the_partner() {
    let workshop = Workshop::new();
    let checked = workshop.check(" bio: String", "", &[]);
    assert_eq!(checked.code, 1);
    let finding = &checked.report["breaks"][0];
    assert_eq!(finding["problems"][0]["locations"], json!([{ "line": 4, "column": 5 }]));
    assert!(finding["problems"][0]["message"].as_str().unwrap().contains("bio"), "{finding}");
    let who = json!([finding["id"], finding["name"], finding["partner"], finding["client"]]);
    assert_eq!(who, json!(["me", "Me", "acme", "web"]));
    assert_eq!((&finding["calls"], &finding["lastCalledAt"]), (&json!(7), &json!(LONG_AGO)));
    assert_eq!(checked.broken().len(), 1);
    assert_eq!(checked.report["partnerOperations"], 6);

    let output = workshop.run(&["--against", "next.yaml", "--registry", "registry.json"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "WOULD BREAK: Me (me)",
        "of partner acme, client web; called 7 times, last at 2020-01-01T00:00:00Z",
        "    4:5 ",
        "1 operation would break.",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn what_breaks_nobody_passes() {
    let workshop = Workshop::new();
    for (what, into) in [
        ("me: User", "me: User you: User"),
        ("near: Int", "near: Int far: Int = 3"),
        ("text: String", "text: String more: Int other: Int! = 1"),
        ("SMALL LARGE", "SMALL MEDIUM LARGE"),
        ("name: String! bio: String", "name: String! bio: String!"),
        ("old: Int @deprecated(reason: \"use side\")", ""),
    ] {
        let checked = workshop.check(what, into, &["--from", "today.yaml"]);
        assert_eq!(checked.broken(), [], "{into}");
        assert_eq!(checked.report["warnings"], json!([]), "{into}");
    }
    let output = workshop.run(&["--against", "today.yaml", "--registry", "registry.json"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("6 operations of partners") && text.contains("Nothing would break."), "{text}");
}

#[test]
fn an_argument_made_required_and_a_value_taken_away_break_who_uses_them() {
    let workshop = Workshop::new();
    let ids = |what: &str, into: &str, arguments: &[&str]| -> Vec<String> {
        workshop.check(what, into, arguments).broken().into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(ids("near: Int", "near: Int!", &[]), ["filtered", "huge"]);
    // Written out in the text it is seen at once; what variables carry is seen with the schema of today alone.
    assert_eq!(ids("LARGE HUGE", "LARGE", &[]), ["huge"]);
    assert_eq!(ids("LARGE HUGE", "LARGE", &["--from", "today.yaml"]), ["filtered", "huge"]);
}

#[test]
fn with_the_schema_of_today_variables_and_answers_are_compared() {
    let workshop = Workshop::new();
    for (what, into, id, message) in [
        (
            "input RenameInput { ",
            "input RenameInput { why: String! ",
            "rename",
            "$input: `RenameInput.why` is new and required",
        ),
        (
            "Filter { size: Size",
            "Filter { size: Size!",
            "filtered",
            "$filter: `Filter.size` becomes `Size!`; callers send `Size`",
        ),
        (" text: String", "", "filtered", "$filter: `Filter.text` is gone"),
        ("rated: Int!", "rated: Int", "rated", "`rated` becomes `Int`; callers know it as `Int!`"),
        ("rated: Int!", "rated: String!", "rated", "`rated` becomes `String!`; callers know it as `Int!`"),
    ] {
        assert_eq!(workshop.check(what, into, &[]).broken(), [], "{into}");
        let checked = workshop.check(what, into, &["--from", "today.yaml"]);
        assert_eq!(checked.broken(), [(id.to_owned(), vec![message.to_owned()])], "{into}");
    }
    // A caller may meet a value that it does not know.
    let checked = workshop.check("LEFT RIGHT", "LEFT RIGHT UP", &["--from", "today.yaml"]);
    assert_eq!(checked.broken(), []);
    let warned = vec!["`Side` has a new value, `UP`".to_owned()];
    assert_eq!(told(&checked.report["warnings"]), [("filtered".to_owned(), warned)]);
    // What is broken already is not broken by this change.
    workshop.compose("bare", &TODAY.replace(" bio: String", ""));
    let checked = workshop.check(" bio: String", "", &["--from", "bare.yaml"]);
    assert_eq!(checked.broken(), []);
    assert_eq!(checked.report["warnings"][0]["problems"][0]["message"], "it does not work today either");
}

#[test]
fn an_operation_that_becomes_too_dear_breaks() {
    let workshop = Workshop::new();
    let dearer = ("weight: \"5\"", "weight: \"30000\"");
    let checked = workshop.check(dearer.0, dearer.1, &[]);
    let message = "it may cost 30000 (before: 5), and a call may cost 20000".to_owned();
    assert_eq!(checked.broken(), [("rated".to_owned(), vec![message])]);
    assert_eq!(workshop.check(dearer.0, dearer.1, &["--partner-cost-max", "30000"]).broken(), []);
    // One that was too dear before is for its owner to know.
    workshop.compose("dear", &TODAY.replace(dearer.0, dearer.1));
    let checked = workshop.check(dearer.0, "weight: \"40000\"", &["--from", "dear.yaml"]);
    assert_eq!(checked.broken(), []);
    assert_eq!(told(&checked.report["warnings"]).len(), 1);
}

#[test]
fn our_own_clients_are_held_against_it_as_well_and_what_is_deprecated_is_told() {
    let workshop = Workshop::new();
    let listed = |body: &str, name: &str| json!({ "id": sha256_hex(body.as_bytes()), "body": body, "name": name, "type": "query" });
    let operations = [listed(ME, "Me"), listed(OLD, "Old")];
    let manifest = json!({ "format": "apollo-persisted-query-manifest", "version": 1, "operations": operations });
    workshop.write("clients/web/persisted-query-manifest.json", &manifest.to_string());
    workshop.write("clients/README.md", "");

    let checked = workshop.check(" bio: String", "", &[]);
    let breaks = &checked.report["breaks"];
    let of = |number: usize| json!([breaks[number]["partner"], breaks[number]["client"], breaks[number]["name"]]);
    assert_eq!([of(0), of(1)], [json!(["acme", "web", "Me"]), json!([null, "web", "Me"])]);
    assert_eq!(checked.report["firstPartyOperations"], 2);
    let warned = ("User.old is deprecated: use side".to_owned(), sha256_hex(OLD.as_bytes()));
    assert_eq!(told(&checked.report["warnings"]), [(warned.1, vec![warned.0])]);

    workshop.write("clients/web/persisted-query-manifest.json", &manifest.to_string().replace("Me {", "You {"));
    let output = workshop.run(&["--against", "today.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("persisted-query-manifest.json") && told.contains("not the SHA-256"), "{told}");
}

#[test]
fn what_cannot_be_found_out_is_no_pass() {
    let workshop = Workshop::new();
    workshop.compose("broken", "type Query { me: Nobody }");
    workshop.write("empty.json", "{}");
    let lost = json!({ "partners": [], "operations": [{ "partnerId": "p", "id": "a", "body": "{ me { id } }" }] });
    workshop.write("lost.json", &lost.to_string());
    for (arguments, code) in [
        (&["--against", "broken.yaml"][..], 1),
        (&["--against", "today.graphql"], 1),
        (&["--against", "absent.yaml"], 2),
        (&["--against", "today.yaml", "--from", "absent.yaml"], 2),
        (&["--against", "today.yaml", "--registry", "absent.json"], 2),
        (&["--against", "today.yaml", "--registry", "empty.json"], 2),
        (&["--against", "today.yaml", "--registry", "lost.json"], 2),
        (&["--against", "today.yaml", "--redis", "redis://127.0.0.1:1"], 2),
        (&["--against", "today.yaml", "--redis", "redis://127.0.0.1:1", "--registry", "registry.json"], 2),
        (&["--against", "today.yaml", "--clients", "absent"], 2),
        (&[], 2),
        (&["--against", "today.yaml"], 0),
    ] {
        assert_eq!(workshop.run(arguments).status.code(), Some(code), "{arguments:?}");
    }
}

#[tokio::test]
async fn the_registry_is_read_from_redis_and_can_be_taken_along() {
    for registry in [Registry::empty().await, Registry::cluster().await] {
        let workshop = Workshop::new();
        registry.partner("acme", false).await;
        registry.operation("acme", "me", ME, None).await;
        registry.operation("acme", "gone", ME, Some(LONG_AGO)).await;
        let usage = json!({ "calls": 1, "lastCalledAt": LONG_AGO }).to_string();
        let mut count = redis::cmd("HSET");
        count.arg("accounts:usage:operations").arg("acme/me").arg(usage);
        registry.ask::<()>(&count).await;

        let urls = registry.urls();
        workshop.compose("next", &TODAY.replace(" bio: String", ""));
        let read = workshop.run(&["--against", "next.yaml", "--redis", &urls, "--save", "saved.json"]);
        let text = String::from_utf8(read.stdout).unwrap();
        assert_eq!(read.status.code(), Some(1), "{text}");
        assert!(text.contains("of partner acme, client web; called once, last at"), "{text}");
        assert!(!text.contains("gone"), "{text}");
        let again = workshop.run(&["--against", "next.yaml", "--registry", "saved.json"]);
        assert_eq!(String::from_utf8(again.stdout).unwrap(), text);
    }
}
