//! What a partner is refused, over each transport, and that no refusal tells of what is somebody else's.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use velvet_e2e::{
    SOON,
    calling::{Call, Signing, Told, Way, publish},
    partner::{Partner, fresh_slug, prefix_of},
};
use velvet_kit::{Handle, handle::Turn, until};

/// A query that takes a variable, and what it takes.
const QUERY: &str = "query Mine($first: Int!) { matches(first: $first) { nodes { id } } }";
/// A subscription that takes one.
const LIVE: &str = "subscription Live($ends: Boolean!) { matchEvents { __typename ... on MatchEnded @include(if: $ends) { matchId } } }";
const BOTH_SCOPES: &[&str] = &["matching:query", "matching:subscription"];

/// A partner with one operation of each kind.
struct Calling {
    stack: Handle,
    partner: Partner,
    key: String,
    query: String,
    live: String,
    _turn: Turn,
}

/// A key with what `more` says of it.
async fn key(partner: &Partner, scopes: &[&str], more: &Value) -> Result<String> {
    let mut input = json!({ "slug": partner.slug, "mode": "TEST", "scopes": scopes });
    for (name, value) in more.as_object().into_iter().flatten() {
        input[name] = value.clone();
    }
    let selection = "... on PartnerKeyCreated { secret } ... on InputInvalid { fields { field message } }";
    let created = partner.change("createPartnerKey", "CreatePartnerKeyInput", input, selection).await?;
    created["secret"].as_str().map(str::to_owned).with_context(|| format!("no key: {created}"))
}

/// Registers operations as soon as the router knows the key.
async fn registered(stack: &Handle, key: &str, operations: &[(&str, &str)]) -> Result<()> {
    until("operations are registered", SOON, || async {
        let (status, report) = publish(stack, key, operations).await?;
        ensure!(status == 200, "{report}");
        Ok(())
    })
    .await
}

/// Waits until a call is answered so.
async fn answered(stack: &Handle, call: &Call, code: &str) -> Result<Told> {
    until("a call is answered", SOON, || async {
        let told = Way::Post.ask(stack, call).await?;
        ensure!(told.code == code, "{told:?}");
        Ok(told)
    })
    .await
}

impl Calling {
    async fn new() -> Result<Self> {
        let stack = Handle::from_env()?;
        let turn = stack.shared().await?;
        let partner = Partner::create(&stack).await?;
        // More than all calls of a test.
        let input = json!({ "slug": partner.slug, "limits": { "burst": 2_000, "requestsPerSecond": 1_000 } });
        partner.change("updatePartner", "UpdatePartnerInput", input, "").await?;
        let key = key(&partner, BOTH_SCOPES, &json!({})).await?;
        let (query, live) = (fresh_slug(), fresh_slug());
        registered(&stack, &key, &[(&query, QUERY), (&live, LIVE)]).await?;
        let calling = Self { stack, partner, key, query, live, _turn: turn };
        answered(&calling.stack, &calling.query(), "").await?;
        Ok(calling)
    }

    /// A good call of the query.
    fn query(&self) -> Call {
        Call::of(&self.key, &self.query, &json!({ "first": 1 }))
    }

    /// A good call of the subscription.
    fn live(&self) -> Call {
        Call::of(&self.key, &self.live, &json!({ "ends": true }))
    }

    /// The same change of both calls is refused so, whichever way they come.
    async fn is_refused(&self, why: &str, code: &str, status: u16, change: impl Fn(Call) -> Call) -> Result<()> {
        for (good, ways) in [(self.query(), &Way::ALL[..]), (self.live(), Way::LIVE)] {
            let call = change(good);
            for way in ways {
                let told = way.ask(&self.stack, &call).await.with_context(|| format!("{why}, {way:?}"))?;
                let told_by_close = *way == Way::WebSocket && status == 401;
                let expected = if told_by_close { "4403" } else { code };
                ensure!(told.code == expected && !told.message.is_empty(), "{why}, {way:?}: {told:?}");
                ensure!(told.data.is_null(), "{why}, {way:?}: {told:?}");
                // graphql-sse tells of an operation that does not run by an event.
                let statuses = [None, Some(status), (*way == Way::EventStream).then_some(200)];
                ensure!(statuses.contains(&told.status), "{why}, {way:?}: {told:?}");
                ensure!(told.status.is_some() || *way == Way::WebSocket, "{why}, {way:?}: {told:?}");
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_is_good_is_answered_whichever_way_it_comes() -> Result<()> {
    let calling = Calling::new().await?;
    for way in Way::ALL {
        let told = way.ask(&calling.stack, &calling.query()).await?;
        assert_eq!((told.code.as_str(), &told.data), ("", &json!({ "matches": { "nodes": [] } })), "{way:?}: {told:?}");
        let signed = way.ask(&calling.stack, &Call { signing: Signing::Good, ..calling.query() }).await?;
        assert_eq!(signed.code, "", "{way:?}: {signed:?}");
    }
    for way in Way::LIVE {
        let told = way.ask(&calling.stack, &calling.live()).await?;
        assert_eq!((told.code.as_str(), &told.data), ("", &Value::Null), "{way:?}: {told:?}");
    }
    Ok(())
}

#[tokio::test]
async fn each_refusal_has_its_code_whichever_way_it_comes() -> Result<()> {
    let calling = Calling::new().await?;
    let some = |text: &str| Some(text.to_owned());
    let variables = |call: Call, variables: Value| Call { variables, ..call };
    let refused =
        calling.is_refused("an unknown id", "OPERATION_NOT_FOUND", 404, |call| Call { id: "none".into(), ..call });
    refused.await?;
    let refused =
        calling.is_refused("another text", "BAD_REQUEST", 400, |call| Call { text: some("{ __typename }"), ..call });
    refused.await?;
    let refused = calling.is_refused("another hash", "BAD_REQUEST", 400, |call| Call { hash: some("other"), ..call });
    refused.await?;
    let invalid = "VALIDATION_INVALID_TYPE_VARIABLE";
    let odd = json!({ "first": "one", "ends": "yes" });
    calling.is_refused("a variable of another type", invalid, 400, |call| variables(call, odd.clone())).await?;
    calling.is_refused("a variable is missing", invalid, 400, |call| variables(call, json!({}))).await?;
    let refused = calling.is_refused("a tampered request under a signature", "UNAUTHENTICATED", 401, |call| Call {
        signing: Signing::Tampered,
        ..call
    });
    refused.await
}

#[tokio::test]
async fn variables_that_the_operation_does_not_have_change_nothing() -> Result<()> {
    let calling = Calling::new().await?;
    for way in Way::ALL {
        let plain = way.ask(&calling.stack, &calling.query()).await?;
        let more = json!({ "first": 1, "last": 1_000_000, "query": "{ __schema { types { name } } }" });
        let told = way.ask(&calling.stack, &Call { variables: more, ..calling.query() }).await?;
        assert_eq!((told.code.as_str(), &told.data), ("", &plain.data), "{way:?}: {told:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_lets_in_to_its_scopes_and_no_further() -> Result<()> {
    let calling = Calling::new().await?;
    let narrow = key(&calling.partner, &["accounts:query"], &json!({})).await?;
    let call = |call: Call| Call { key: narrow.clone(), ..call };
    answered(&calling.stack, &call(calling.query()), "FORBIDDEN").await?;
    calling.is_refused("a scope is missing", "FORBIDDEN", 403, call).await
}

#[tokio::test]
async fn a_key_that_is_not_good_is_told_no_more_than_that() -> Result<()> {
    let calling = Calling::new().await?;
    // A key cannot be made that has ended already. The database's clock is the machine's.
    let soon =
        "SELECT to_char((now() + interval '3 seconds') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS at";
    let soon = calling.stack.database(0)?.value(soon).await?;
    let expired = key(&calling.partner, BOTH_SCOPES, &json!({ "expiresAt": soon })).await?;
    let strict = key(&calling.partner, BOTH_SCOPES, &json!({ "requireSignature": true })).await?;
    let revoked = key(&calling.partner, BOTH_SCOPES, &json!({})).await?;
    let with = |key: &str| Call { key: key.to_owned(), ..calling.query() };
    for good in [Call { signing: Signing::Good, ..with(&strict) }, with(&revoked)] {
        until("the key is good", SOON, || async {
            let told = Way::Post.ask(&calling.stack, &good).await?;
            ensure!(told.code.is_empty(), "{told:?}");
            Ok(())
        })
        .await?;
    }
    let input = json!({ "slug": calling.partner.slug, "prefix": prefix_of(&revoked) });
    calling.partner.change("revokePartnerKey", "RevokePartnerKeyInput", input, "").await?;
    for bad in [with(&expired), with(&revoked)] {
        answered(&calling.stack, &bad, "UNAUTHENTICATED").await?;
    }
    let guessed = format!("{}{}", &calling.key[..calling.key.len() - 4], "AAAA");
    for (why, key) in [
        ("an expired key", expired.as_str()),
        ("a revoked key", &revoked),
        ("a key without the signature that it asks for", &strict),
        ("a guessed key", &guessed),
        ("a key that never was", "vk_test_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ("no key at all", "nonsense"),
    ] {
        let call = |call: Call| Call { key: key.to_owned(), ..call };
        calling.is_refused(why, "UNAUTHENTICATED", 401, call).await?;
        for way in Way::ALL {
            let (one, other) =
                (way.ask(&calling.stack, &call(calling.query())).await?, way.ask(&calling.stack, &with("x")).await?);
            assert_eq!(one.whole, other.whole, "{why}, {way:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn whether_an_operation_exists_for_somebody_else_cannot_be_told() -> Result<()> {
    let calling = Calling::new().await?;
    let (theirs, retired) = (fresh_slug(), fresh_slug());
    let told = async |id: &str| {
        let mut told = Vec::new();
        for (good, ways) in [(calling.query(), &Way::ALL[..]), (calling.live(), Way::LIVE)] {
            for way in ways {
                told.push(way.ask(&calling.stack, &Call { id: id.to_owned(), ..good.clone() }).await?);
            }
        }
        anyhow::Ok(told)
    };
    let before = told(&theirs).await?;
    assert!(before.iter().all(|told| told.code == "OPERATION_NOT_FOUND"), "{before:?}");

    // Somebody else registers it, and can call it.
    let other = Partner::create(&calling.stack).await?;
    let others_key = key(&other, BOTH_SCOPES, &json!({})).await?;
    registered(&calling.stack, &others_key, &[(&theirs, QUERY)]).await?;
    answered(&calling.stack, &Call { key: others_key, id: theirs.clone(), ..calling.query() }, "").await?;
    assert_eq!(told(&theirs).await?, before);

    // One of one's own that is retired is as if it had never been.
    registered(&calling.stack, &calling.key, &[(&retired, QUERY)]).await?;
    let call = Call { id: retired.clone(), ..calling.query() };
    answered(&calling.stack, &call, "").await?;
    let input = json!({ "slug": calling.partner.slug, "id": retired });
    calling.partner.change("retireOperation", "RetireOperationInput", input, "").await?;
    answered(&calling.stack, &call, "OPERATION_NOT_FOUND").await?;
    assert_eq!(told(&retired).await?, before);
    Ok(())
}
