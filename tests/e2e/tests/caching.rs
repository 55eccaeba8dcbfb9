//! Answers that a partner may keep: as long as the least of their fields says.

use anyhow::{Context, Result};
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::json;
use velvet_e2e::{Person, partner::Partner, program::Program};
use velvet_kit::Handle;

const PROFILE: &str = "query Profile($id: ID!) { user(id: $id) { id displayName } }";
const ME: &str = "query Me { me { user { id } } }";

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str> {
    Ok(headers.get(name).with_context(|| format!("no {name} in {headers:?}"))?.to_str()?)
}

#[tokio::test]
async fn a_profile_may_be_kept_for_half_a_minute_and_what_changes_by_the_minute_may_not() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let partner = Partner::create(&stack).await?;
    let alice = Person::sign_up(&stack, "alice").await?;
    let program = Program::new(&stack, partner.key().await?)?;
    program.publish(&[("profile", PROFILE), ("me", ME)]).await?;

    let of_alice = json!({ "id": alice.id });
    let (status, headers, answer) = program.get("profile", &of_alice, None).await?;
    assert_eq!((status, &answer["data"]["user"]["id"]), (StatusCode::OK, &json!(alice.id)), "{answer}");
    assert_eq!(text(&headers, "cache-control")?, "private, max-age=30");
    let tag = text(&headers, "etag")?.to_owned();
    let (status, headers, _) = program.get("profile", &of_alice, Some(&tag)).await?;
    assert_eq!((status, text(&headers, "cache-control")?), (StatusCode::NOT_MODIFIED, "private, max-age=30"));

    let (status, headers, _) = program.get("me", &json!({}), None).await?;
    assert_eq!((status, text(&headers, "cache-control")?), (StatusCode::OK, "private, max-age=0"));

    // The variable is missing: the answer is an error.
    let (_, headers, answer) = program.get("profile", &json!({}), None).await?;
    assert!(answer["errors"][0].is_object(), "{answer}");
    assert_eq!(text(&headers, "cache-control")?, "no-store");
    Ok(())
}
