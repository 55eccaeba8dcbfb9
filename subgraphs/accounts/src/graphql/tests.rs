//! The subgraph as clients and the router meet it, as far as it goes without servers.

use super::*;
use async_graphql::{Request, Variables, value};
use serde_json::{Value, json};
use velvet_kernel::{
    id::UserId,
    identity::{Caller, Viewer},
};

/// What of the public graph is this subgraph's: each type with its fields, as clients rely on them.
const OWNED: [(&str, &[&str]); 31] = [
    ("type Query", &["me: Account!", "user(id: ID!): User"]),
    (
        "type Mutation",
        &[
            "register(input: RegisterInput!): RegisterResult!",
            "login(input: LoginInput!): LoginResult!",
            "refreshSession(input: RefreshSessionInput!): RefreshSessionResult!",
            "logout(input: LogoutInput!): LogoutResult!",
            "updateProfile(input: UpdateProfileInput!): UpdateProfileResult!",
            "setLocation(input: SetLocationInput!): SetLocationResult!",
        ],
    ),
    ("enum Side", &["PATRON", "CREATOR"]),
    ("enum Gender", &["FEMALE", "MALE", "NON_BINARY"]),
    ("enum VerificationStatus", &["UNVERIFIED", "PENDING", "VERIFIED", "REJECTED"]),
    (
        "type User @key(fields: \"id\")",
        &[
            "id: ID!",
            "side: Side!",
            "displayName: String!",
            "bio: String!",
            "avatarUrl: String",
            "age: Int!",
            "gender: Gender!",
            "verified: Boolean!",
        ],
    ),
    (
        "type Account",
        &[
            "user: User!",
            "email: String!",
            "birthDate: Date!",
            "verificationStatus: VerificationStatus!",
            "preferences: Preferences!",
            "createdAt: DateTime!",
        ],
    ),
    (
        "type Preferences",
        &["ageMin: Int!", "ageMax: Int!", "distanceKmMax: Int!", "genders: [Gender!]!", "verifiedOnly: Boolean!"],
    ),
    (
        "input RegisterInput",
        &[
            "email: String!",
            "password: String!",
            "displayName: String!",
            "birthDate: Date!",
            "gender: Gender!",
            "side: Side!",
            "idempotencyKey: String",
        ],
    ),
    ("union RegisterResult = Session | EmailTaken | InputInvalid | Pending", &[]),
    ("type Pending @shareable", &["reason: String!", "retryAfterSeconds: Int!"]),
    ("type EmailTaken", &["reason: String!"]),
    ("type InputInvalid @shareable", &["reason: String!", "fields: [FieldProblem!]!"]),
    ("type FieldProblem @shareable", &["field: String!", "message: String!"]),
    (
        "type Session",
        &[
            "accessToken: String!",
            "accessTokenExpiresAt: DateTime!",
            "refreshToken: String!",
            "refreshTokenExpiresAt: DateTime!",
            "account: Account!",
        ],
    ),
    ("input LoginInput", &["email: String!", "password: String!"]),
    ("union LoginResult = Session | CredentialsRefused | TooManyAttempts", &[]),
    ("type CredentialsRefused", &["reason: String!"]),
    ("type TooManyAttempts", &["reason: String!", "retryAfterSeconds: Int!"]),
    ("input RefreshSessionInput", &["refreshToken: String!"]),
    ("union RefreshSessionResult = Session | CredentialsRefused", &[]),
    ("input LogoutInput", &["refreshToken: String!"]),
    ("union LogoutResult = LoggedOut", &[]),
    ("type LoggedOut", &["ok: Boolean!"]),
    (
        "input UpdateProfileInput",
        &["displayName: String", "bio: String", "avatarUrl: String", "preferences: PreferencesInput"],
    ),
    (
        "input PreferencesInput",
        &["ageMin: Int", "ageMax: Int", "distanceKmMax: Int", "genders: [Gender!]", "verifiedOnly: Boolean"],
    ),
    ("union UpdateProfileResult = ProfileUpdated | InputInvalid", &[]),
    ("type ProfileUpdated", &["account: Account!"]),
    ("input SetLocationInput", &["latitude: Float!", "longitude: Float!"]),
    ("union SetLocationResult = LocationSet | InputInvalid", &[]),
    ("type LocationSet", &["ok: Boolean!"]),
];

/// The line without what it tells the router.
fn unannotated(line: &str) -> String {
    let mut line = line.to_owned();
    for annotation in [" @cacheControl(", " @cost(", " @listSize("] {
        if let Some((before, rest)) = line.split_once(annotation) {
            let (_, after) = rest.split_once(')').unwrap();
            line = format!("{before}{after}");
        }
    }
    line
}

/// The schema without its descriptions and annotations, each field with its arguments in one line.
fn outline() -> Vec<String> {
    let (mut lines, mut in_description) = (Vec::<String>::new(), false);
    for line in (crate::DOMAIN.sdl)().lines().map(str::trim) {
        if line == "\"\"\"" {
            in_description = !in_description;
        } else if !in_description && !line.is_empty() {
            match lines.last_mut().filter(|last| last.contains('(') && !last.contains(')')) {
                Some(open) if open.ends_with('(') || line.starts_with(')') => open.push_str(line),
                Some(open) => *open = format!("{open}, {line}"),
                None => lines.push(line.to_owned()),
            }
        }
    }
    lines.iter().map(|line| unannotated(line)).collect()
}

#[test]
fn all_that_accounts_owns_is_in_its_schema() {
    let outline = outline();
    for (head, members) in OWNED {
        let mut lines = outline.iter().skip_while(|line| line.trim_end_matches(" {") != head);
        assert!(lines.next().is_some(), "{head} is missing in {outline:#?}");
        let found: Vec<&String> = lines.take_while(|line| *line != "}").collect();
        for member in members {
            assert!(found.iter().any(|line| line == member), "{head}: {member} is missing among {found:#?}");
        }
    }
    for scalar in ["scalar Date", "scalar DateTime"] {
        assert!(outline.iter().any(|line| line.starts_with(scalar)), "{scalar} is missing in {outline:#?}");
    }
}

#[test]
fn everything_in_the_schema_is_described() {
    let (mut in_description, mut described) = (false, false);
    for line in (crate::DOMAIN.sdl)().lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line == "\"\"\"" {
            in_description = !in_description;
            described = true;
        } else if !in_description {
            let needs_none = [
                ")",
                "}",
                "type Query",
                "type Mutation",
                "scalar ",
                "directive ",
                "schema ",
                "extend schema ",
                "@link",
                "query:",
                "url:",
                "import:",
                "mutation:",
            ];
            let is_ours = !needs_none.iter().any(|start| line.starts_with(start));
            assert!(described || !is_ours, "{line} has no description");
            described = false;
        }
    }
}

async fn ask(caller: Caller, query: &str, variables: Value) -> Value {
    let request = Request::new(query).variables(Variables::from_json(variables)).data(caller);
    serde_json::to_value(subgraph(None).schema.execute(request).await).unwrap()
}

fn alice() -> Caller {
    let id = UserId::parse("00000000-0000-0000-0000-00000000a11c").unwrap();
    Caller::Viewer(Viewer {
        id,
        roles: Vec::new(),
        partner: None,
        expires_at: chrono::DateTime::<chrono::Utc>::MAX_UTC,
    })
}

#[tokio::test]
async fn nothing_of_an_account_is_shown_to_nobody() {
    let fields = [
        "{ me { email } }",
        r#"{ user(id: "00000000-0000-0000-0000-00000000a11c") { displayName } }"#,
        r#"{ _entities(representations: [{ __typename: "User", id: "00000000-0000-0000-0000-00000000a11c" }]) { __typename } }"#,
        r#"mutation { updateProfile(input: { bio: "" }) { __typename } }"#,
        "mutation { setLocation(input: { latitude: 0, longitude: 0 }) { __typename } }",
    ];
    for field in fields {
        for caller in [Caller::Anonymous, Caller::Refused] {
            let answer = ask(caller, field, json!({})).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], "UNAUTHENTICATED", "{field}: {answer}");
        }
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_nobody() {
    let query = r#"{ user(id: "alice") { id } _entities(representations: [{ __typename: "User", id: "alice" }]) { __typename } }"#;
    let answer = ask(alice(), query, json!({})).await;
    assert_eq!(answer, json!({ "data": { "user": null, "_entities": [null] } }));
}

#[tokio::test]
async fn introspection_passes_the_limits() {
    let query = "query { __schema { types { name fields { args { type { ...T } } } } } }
        fragment T on __Type { name ofType { name ofType { name ofType { name ofType { name ofType { name ofType { name
        ofType { name ofType { name ofType { name } } } } } } } } } }";
    let answer = ask(Caller::Anonymous, query, json!({})).await;
    assert!(answer.get("errors").is_none(), "{}", answer["errors"]);
}

#[tokio::test]
async fn an_operation_that_is_too_deep_is_refused() {
    let nested = "type { ofType { ".to_owned() + &"ofType { ".repeat(20) + "name" + &" }".repeat(22);
    let answer =
        ask(Caller::Anonymous, &format!("{{ __schema {{ types {{ fields {{ {nested} }} }} }} }}"), json!({})).await;
    assert!(answer["errors"][0]["message"].as_str().is_some_and(|message| message.contains("too deep")), "{answer}");
}

mod inputs {
    use super::super::input::{RegisterInput, SetLocationInput, UpdateProfileInput};
    use super::*;
    use async_graphql::InputType;
    use velvet_kernel::graph::InputInvalid;

    fn read<T: InputType>(value: async_graphql::Value) -> T {
        T::parse(Some(value)).map_err(|error| error.into_server_error(async_graphql::Pos::default())).unwrap()
    }

    fn fields(invalid: InputInvalid) -> Vec<String> {
        invalid.fields.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_registration_learns_of_all_its_problems_at_once() {
        let input: RegisterInput = read(value!({
            "email": "alice", "password": "short", "displayName": " ", "birthDate": "2020-01-01",
            "gender": "FEMALE", "side": "CREATOR", "idempotencyKey": "",
        }));
        let invalid = input.parse("2026-07-27".parse().unwrap()).unwrap_err();
        assert_eq!(fields(invalid), ["email", "password", "displayName", "birthDate", "idempotencyKey"]);
    }

    #[test]
    fn a_registration_within_its_bounds_is_taken() {
        let input: RegisterInput = read(value!({
            "email": " Alice@Example.com ", "password": "correct horse", "displayName": " Alice ",
            "birthDate": "2008-07-27", "gender": "FEMALE", "side": "CREATOR",
        }));
        let registration = input.parse("2026-07-27".parse().unwrap()).unwrap();
        assert_eq!(
            (registration.email.normalized(), registration.display_name.as_str()),
            ("alice@example.com", "Alice")
        );
    }

    #[test]
    fn a_profile_learns_of_all_its_problems_at_once() {
        let input: UpdateProfileInput = read(value!({
            "displayName": "", "bio": "\u{0}", "avatarUrl": "http://a.example",
            "preferences": { "ageMin": 17, "ageMax": 121, "distanceKmMax": 0, "genders": [] },
        }));
        let expected = [
            "displayName",
            "bio",
            "avatarUrl",
            "preferences.ageMin",
            "preferences.ageMax",
            "preferences.distanceKmMax",
            "preferences.genders",
        ];
        assert_eq!(fields(input.parse(50).unwrap_err()), expected);
    }

    #[test]
    fn null_and_absent_keep_what_is_there() {
        let input: UpdateProfileInput = read(value!({ "displayName": null, "preferences": { "ageMin": null } }));
        let change = input.parse(50).unwrap();
        assert_eq!((change.display_name, change.bio, change.avatar_url), (None, None, None));
        assert_eq!(change.preferences, Some(crate::model::PreferencesChange::default()));
    }

    #[test]
    fn a_place_off_the_globe_is_none() {
        let place = |latitude: f64, longitude: f64| -> SetLocationInput {
            read(value!({ "latitude": latitude, "longitude": longitude }))
        };
        assert_eq!(fields(place(90.1, -180.1).parse().unwrap_err()), ["latitude", "longitude"]);
        assert!(place(90.0, -180.0).parse().is_ok());
    }
}
