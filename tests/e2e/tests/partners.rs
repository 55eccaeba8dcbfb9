//! Partners: their keys, what they publish, and who may change any of it.

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use velvet_e2e::{
    Person, SOON,
    database::everywhere,
    partner::{Answer, Partner, admin, fresh_slug, prefix_of, velvet},
    redis::{registered, registry_changes},
};
use velvet_kit::{Handle, until};

const ROTATED: &str = "... on PartnerKeyRotated { secret key { prefix scopes } replaced { prefix expiresAt } }
    ... on InputInvalid { fields { field message } }";
const REVOKED: &str = "... on PartnerKeyRevoked { key { prefix revokedAt } }";
const UPDATED: &str = "... on PartnerUpdated { partner { name disabled limits { burst requestsPerSecond } } }
    ... on InputInvalid { fields { field } }";
const BODY: &str = "query Deck { deck { distanceKm } }";

fn claims(token: &str) -> Result<Value> {
    let part = token.split('.').nth(1).context("a token has three parts")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}

async fn rotate(partner: &Partner, prefix: &str, overlap_seconds: u32) -> Result<Value> {
    let input = json!({ "slug": partner.slug, "prefix": prefix, "overlapSeconds": overlap_seconds });
    partner.change("rotatePartnerKey", "RotatePartnerKeyInput", input, ROTATED).await
}

async fn revoke(partner: &Partner, prefix: &str) -> Result<Value> {
    let input = json!({ "slug": partner.slug, "prefix": prefix });
    partner.change("revokePartnerKey", "RevokePartnerKeyInput", input, REVOKED).await
}

async fn update(partner: &Partner, mut change: Value) -> Result<Value> {
    change["slug"] = json!(partner.slug);
    partner.change("updatePartner", "UpdatePartnerInput", change, UPDATED).await
}

fn refused(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.code())
}

#[tokio::test]
async fn only_who_runs_the_platform_sees_or_changes_partners() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let operations = [
        "{ partners { nodes { slug } } }",
        "{ partner(slug: \"acme\") { slug } }",
        "mutation { createPartner(input: { slug: \"acme\", name: \"x\", userId: \"x\" }) { __typename } }",
        "mutation { updatePartner(input: { slug: \"acme\" }) { __typename } }",
        "mutation { createPartnerKey(input: { slug: \"acme\", mode: TEST, scopes: [\"*\"] }) { __typename } }",
        "mutation { rotatePartnerKey(input: { slug: \"acme\", prefix: \"x\" }) { __typename } }",
        "mutation { revokePartnerKey(input: { slug: \"acme\", prefix: \"x\" }) { __typename } }",
        "mutation { retireOperation(input: { slug: \"acme\", id: \"x\" }) { __typename } }",
    ];
    let direct = stack.subgraph_client("accounts")?.bearer(alice.client.token().unwrap_or_default());
    for operation in operations {
        for client in [&alice.client, &direct] {
            let answer = client.send(operation, json!({})).await?;
            assert_eq!(answer.code(), Some("FORBIDDEN"), "{operation}: {answer:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn rights_that_are_taken_are_gone_with_the_next_token() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let admin = admin(&stack).await?;
    assert!(admin.ask("{ partners(first: 1) { nodes { slug } } }", json!({})).await.is_ok());
    velvet(&stack, &["grant", "--email", &admin.email, "--role", "ADMIN", "--revoke"]).await?;
    let query = "mutation($input: LoginInput!) { login(input: $input) { ... on Session { accessToken } } }";
    let input = json!({ "email": admin.email, "password": velvet_e2e::person::PASSWORD });
    let session = stack.client()?.data(query, json!({ "input": input })).await?;
    let token = session["login"]["accessToken"].as_str().context("a token")?;
    let answer = stack.client()?.bearer(token).send("{ partners { nodes { slug } } }", json!({})).await?;
    assert_eq!(answer.code(), Some("FORBIDDEN"));
    Ok(())
}

#[tokio::test]
async fn a_slug_is_one_partners_and_its_bounds_are_told() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let create = async |input: Value| {
        let selection = "... on InputInvalid { fields { field } }";
        partner.change("createPartner", "CreatePartnerInput", input, selection).await
    };
    let again = create(json!({ "slug": partner.slug, "name": "Other", "userId": partner.service.id })).await?;
    assert_eq!(again["__typename"], "PartnerExists");
    let nobody = create(json!({ "slug": fresh_slug(), "name": "Other", "userId": "nobody" })).await?;
    assert_eq!(nobody["__typename"], "UserNotFound");
    let limits = json!({ "burst": 0, "monthlyQuota": 2_000_000_001_u32 });
    let odd = create(json!({ "slug": "No", "name": " ", "userId": partner.service.id, "limits": limits })).await?;
    let fields: Vec<&str> =
        odd["fields"].as_array().into_iter().flatten().filter_map(|problem| problem["field"].as_str()).collect();
    assert_eq!(fields, ["slug", "name", "limits.burst", "limits.monthlyQuota"]);
    let changed = update(&partner, json!({ "name": "Acme 2", "limits": { "burst": 7 } })).await?;
    assert_eq!(
        changed["partner"],
        json!({ "name": "Acme 2", "disabled": false, "limits": { "burst": 7, "requestsPerSecond": 50 } })
    );
    Ok(())
}

#[tokio::test]
async fn a_key_is_shown_once() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let (first, repeat) = (partner.create_key("one").await?, partner.create_key("one").await?);
    let secret = first["secret"].as_str().context("the first answer has the key")?;
    assert!(secret.starts_with("vk_live_") && secret.len() == 64);
    assert_eq!(first["key"]["prefix"], prefix_of(secret));
    assert_eq!(repeat["key"], first["key"]);
    assert_eq!(repeat["secret"], Value::Null);
    assert_eq!(partner.seen().await?["keys"].as_array().map(Vec::len), Some(1));
    // What the router reads of it.
    let stored = registered(&stack, "partner_keys", prefix_of(secret)).await?.context("a registered key")?;
    assert_eq!((stored["mode"].as_str(), stored["hash"].as_str().map(str::len)), (Some("live"), Some(64)));
    assert_eq!(stored["scopes"], json!(["accounts:query", "matching:query"]));
    assert!(!stored.to_string().contains(secret), "the key itself is nowhere");
    let changes = registry_changes(&stack).await?;
    assert!(changes.contains(&("key".to_owned(), prefix_of(secret).to_owned())), "{changes:?}");
    Ok(())
}

#[tokio::test]
async fn a_partners_token_is_the_service_account_without_staff_rights() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let key = partner.key().await?;
    // Even a service account that runs the platform.
    velvet(&stack, &["grant", "--email", &partner.service.email, "--role", "ADMIN"]).await?;
    let answer = partner.exchange(&key).await?;
    assert_eq!((answer.status, &answer.body["expiresIn"]), (200, &json!(300)));
    let token = partner.token(&key).await?;
    let said = claims(&token)?;
    assert_eq!(
        (said["sub"].as_str(), said["key"].as_str()),
        (Some(partner.service.id.as_str()), Some(prefix_of(&key)))
    );
    assert_eq!(said["scopes"], json!(["accounts:query", "matching:query"]));
    assert_eq!(said["exp"].as_i64().zip(said["iat"].as_i64()).map(|(ends, made)| ends - made), Some(300));
    let client = stack.subgraph_client("accounts")?.bearer(&token);
    assert_eq!(client.data("{ me { user { id } } }", json!({})).await?["me"]["user"]["id"], partner.service.id);
    let answer = client.send("{ partners { nodes { slug } } }", json!({})).await?;
    assert_eq!(answer.code(), Some("FORBIDDEN"));
    Ok(())
}

#[tokio::test]
async fn unknown_revoked_and_disabled_look_the_same() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let (key, other) = (partner.key().await?, partner.key().await?);
    partner.token(&key).await?;
    let revoked = revoke(&partner, prefix_of(&key)).await?;
    assert!(revoked["key"]["revokedAt"].is_string(), "{revoked}");
    let guessed = format!("{}{}{}", &other[..40], if &other[40..=40] == "A" { "B" } else { "A" }, &other[41..]);
    let refusals =
        [partner.exchange("nonsense").await?, partner.exchange(&guessed).await?, partner.exchange(&key).await?, {
            update(&partner, json!({ "disabled": true })).await?;
            partner.exchange(&other).await?
        }];
    assert_eq!(refused(&refusals[0]), (401, "UNAUTHENTICATED"));
    assert!(refusals.iter().all(|answer| *answer == refusals[0]), "{refusals:?}");
    update(&partner, json!({ "disabled": false })).await?;
    partner.token(&other).await?;
    Ok(())
}

#[tokio::test]
async fn a_rotated_key_goes_on_for_the_overlap() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let first = partner.key().await?;
    let rotated = rotate(&partner, prefix_of(&first), 3_600).await?;
    let second = rotated["secret"].as_str().context("the new key")?.to_owned();
    assert!(rotated["replaced"]["expiresAt"].is_string(), "{rotated}");
    assert_eq!(rotated["key"]["scopes"], json!(["accounts:query", "matching:query"]));
    partner.token(&first).await?;
    partner.token(&second).await?;
    // Without an overlap the old one is over at once.
    let third = rotate(&partner, prefix_of(&second), 0).await?["secret"].as_str().context("a key")?.to_owned();
    assert_eq!(refused(&partner.exchange(&second).await?), (401, "UNAUTHENTICATED"));
    partner.token(&third).await?;
    let gone = rotate(&partner, prefix_of(&second), 0).await?;
    assert_eq!(gone["__typename"], "PartnerKeyNotFound");
    Ok(())
}

#[tokio::test]
async fn a_release_is_published_by_its_own_partner_all_or_nothing() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (partner, other) = (Partner::create(&stack).await?, Partner::create(&stack).await?);
    let token = partner.token(&partner.key().await?).await?;
    let first = partner.publish(&token, &[("a", BODY), ("b", BODY)]).await?;
    assert_eq!(first.body, json!({ "release": 1, "added": 2, "unchanged": 0 }));
    let again = partner.publish(&token, &[("a", BODY), ("b", BODY)]).await?;
    assert_eq!(again.body, json!({ "release": 1, "added": 0, "unchanged": 2 }));
    let changed = partner.publish(&token, &[("c", BODY), ("a", "query Deck { deck { user { id } } }")]).await?;
    assert_eq!(refused(&changed), (409, "OPERATION_CHANGED"));
    assert_eq!(changed.body["error"]["operations"], json!(["a"]));
    let listed = partner.operations(&token, "", &[]).await?;
    let ids: BTreeSet<&str> =
        listed.body["operations"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    assert_eq!(ids, BTreeSet::from(["a", "b"]), "nothing of a refused release is there");
    // Nobody publishes for somebody else, and only who runs the platform for anybody.
    assert_eq!(refused(&partner.publish_to(&other.slug, &token, &[("a", BODY)]).await?), (403, "FORBIDDEN"));
    let user = partner.service.client.token().unwrap_or_default();
    assert_eq!(refused(&partner.publish(user, &[("a", BODY)]).await?), (403, "FORBIDDEN"));
    assert_eq!(refused(&partner.publish("nonsense", &[("a", BODY)]).await?), (401, "UNAUTHENTICATED"));
    let by_admin = partner.publish(partner.admin.client.token().unwrap_or_default(), &[("d", BODY)]).await?;
    assert_eq!(by_admin.body, json!({ "release": 2, "added": 1, "unchanged": 0 }));
    let odd = partner.publish(&token, &[("a b", ""), ("e", BODY)]).await?;
    assert_eq!(refused(&odd), (400, "INVALID_ARGUMENT"));
    Ok(())
}

#[tokio::test]
async fn a_token_publishes_no_longer_than_its_key_is_good() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let key = partner.key().await?;
    let token = partner.token(&key).await?;
    revoke(&partner, prefix_of(&key)).await?;
    assert_eq!(refused(&partner.publish(&token, &[("a", BODY)]).await?), (401, "UNAUTHENTICATED"));
    Ok(())
}

#[tokio::test]
async fn a_retired_operation_stays_known() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let token = partner.token(&partner.key().await?).await?;
    partner.publish(&token, &[("a", BODY)]).await?;
    assert!(partner.retire(&token, "a").await?.body["operation"]["retiredAt"].is_string());
    assert_eq!(refused(&partner.retire(&token, "none").await?), (404, "NOT_FOUND"));
    let shown = partner.operations(&token, "/show", &[("id", "a")]).await?;
    assert_eq!(shown.body["operation"]["body"], BODY);
    let id = partner.admin.ask("query($s: String!) { partner(slug: $s) { id } }", json!({ "s": partner.slug })).await?;
    let field = format!("{}/a", id["partner"]["id"].as_str().unwrap_or_default());
    let stored = registered(&stack, "operations", &field).await?.context("a registered operation")?;
    assert!(stored["retiredAt"].is_string(), "{stored}");
    // By the graph, too.
    partner.publish(&token, &[("b", BODY)]).await?;
    let input = json!({ "slug": partner.slug, "id": "b" });
    let selection = "... on OperationRetired { operation { id retiredAt } }";
    let retired = partner.change("retireOperation", "RetireOperationInput", input, selection).await?;
    assert!(retired["operation"]["retiredAt"].is_string(), "{retired}");
    Ok(())
}

#[tokio::test]
async fn a_full_release_is_one_fact() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let token = partner.token(&partner.key().await?).await?;
    let body = format!("query Deck {{ deck {{ distanceKm }} }} # {}", "x".repeat(900));
    let ids: Vec<String> = (0..500).map(|n| format!("{n:064}")).collect();
    let operations: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), body.as_str())).collect();
    let published = partner.publish(&token, &operations).await?;
    assert_eq!(published.body, json!({ "release": 1, "added": 500, "unchanged": 0 }));
    // The last of them is as much a row as the first, and so is what happens to it next.
    partner.retire(&token, &ids[499]).await?;
    let query = format!(
        "SELECT count(*) AS published, count(retired_at) AS retired FROM {{shard}}.partner_operations WHERE slug = '{}'",
        partner.slug
    );
    until("the rows", SOON, || async {
        let rows = everywhere(&stack, &query).await?;
        let sum = |name: &str| rows.iter().filter_map(|row| row[name].as_i64()).sum::<i64>();
        ensure!(
            (sum("published"), sum("retired")) == (500, 1),
            "{} published, {} retired",
            sum("published"),
            sum("retired")
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_done_is_audited() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let key = partner.key().await?;
    let token = partner.token(&key).await?;
    partner.publish(&token, &[("a", BODY)]).await?;
    partner.retire(&token, "a").await?;
    revoke(&partner, prefix_of(&key)).await?;
    let seen = partner.seen().await?;
    let said: Vec<(String, String)> = seen["audit"]["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| {
            (entry["by"].as_str().unwrap_or_default().into(), entry["action"].as_str().unwrap_or_default().into())
        })
        .collect();
    let (admin, own) = (format!("user:{}", partner.admin.id), format!("key:{}", prefix_of(&key)));
    let expected = [
        (&admin, "key.revoked"),
        (&own, "operation.retired"),
        (&own, "operations.published"),
        (&admin, "key.created"),
        (&admin, "partner.created"),
    ];
    assert_eq!(said, expected.map(|(by, action)| (by.clone(), action.to_owned())));
    Ok(())
}

#[tokio::test]
async fn operators_make_partners_and_keys_without_the_graph() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let slug = fresh_slug();
    velvet(&stack, &["partner", "create", "--slug", &slug, "--name", "Other", "--user", &partner.service.email])
        .await?;
    let scopes = "matching:query,messaging:mutation";
    let made = velvet(&stack, &["partner", "key", "--partner", &slug, "--mode", "test", "--scopes", scopes]).await?;
    let key = made.trim();
    assert!(key.starts_with("vk_test_"), "{key}");
    assert_eq!(claims(&partner.token(key).await?)?["scopes"], json!(["matching:query", "messaging:mutation"]));
    // And partners' tools work with the key alone.
    partner.publish_to(&slug, &partner.token(key).await?, &[("a", BODY)]).await?;
    let tool = async |args: &[&str]| {
        let common = ["--partner", &slug, "--key", key, "--accounts", &stack.info.api_url];
        velvet(&stack, &[&["operations"][..], args, &common[..]].concat()).await
    };
    assert!(tool(&["list"]).await?.lines().any(|line| line.starts_with("Deck ") && line.ends_with(" a")));
    assert!(tool(&["show", "a"]).await?.contains(BODY));
    assert_eq!(tool(&["retire", "a"]).await?.trim(), "retired a");
    assert!(tool(&["show", "none"]).await.is_err());
    Ok(())
}

#[tokio::test]
async fn after_redis_is_wiped_everything_is_as_before() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let partner = Partner::create(&stack).await?;
    let (good, over) = (partner.key().await?, partner.key().await?);
    let token = partner.token(&good).await?;
    partner.publish(&token, &[("a", BODY), ("b", BODY)]).await?;
    partner.retire(&token, "b").await?;
    revoke(&partner, prefix_of(&over)).await?;
    let before = partner.seen().await?;
    let key_before = registered(&stack, "partner_keys", prefix_of(&good)).await?;
    stack.wipe_redis().await?;
    let after = partner.back(&stack).await?;
    assert_eq!(after, before);
    assert_eq!(registered(&stack, "partner_keys", prefix_of(&good)).await?, key_before);
    assert_eq!(refused(&partner.exchange(&over).await?), (401, "UNAUTHENTICATED"));
    let token = partner.token(&good).await?;
    // The state is as it was, not only what can be seen of it.
    let changed = partner.publish(&token, &[("a", "query Deck { deck { user { id } } }")]).await?;
    assert_eq!(refused(&changed), (409, "OPERATION_CHANGED"));
    let next = partner.publish(&token, &[("a", BODY), ("c", BODY)]).await?;
    assert_eq!(next.body, json!({ "release": 2, "added": 1, "unchanged": 1 }));
    let again = partner
        .change(
            "createPartner",
            "CreatePartnerInput",
            json!({ "slug": partner.slug, "name": "x", "userId": partner.service.id }),
            "",
        )
        .await?;
    assert_eq!(again["__typename"], "PartnerExists");
    Ok(())
}
