//! The example clients for partners at the limit of their key: the router tells them to wait, they do, and go on.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use velvet_e2e::{
    SOON,
    calling::{Call, Way},
    example::{Done, Example, Following, Integration},
    partner::Partner,
};
use velvet_kit::{Handle, until};

/// How often an example is started until it has met the limit: a slow machine may be slower than the limit.
const STARTS_MAX: usize = 5;

/// A partner that may call once a second, and its key.
async fn limited(stack: &Handle) -> Result<(Partner, String)> {
    let partner = Partner::create(stack).await?;
    let input = json!({ "slug": partner.slug, "limits": { "requestsPerSecond": 1, "burst": 1 } });
    let updated = partner.change("updatePartner", "UpdatePartnerInput", input, "").await?;
    ensure!(updated["__typename"] == "PartnerUpdated", "{updated}");
    let scopes = ["accounts:query", "matching:query", "matching:subscription"];
    let input = json!({ "slug": partner.slug, "mode": "TEST", "scopes": scopes });
    let selection = "... on PartnerKeyCreated { secret }";
    let created = partner.change("createPartnerKey", "CreatePartnerKeyInput", input, selection).await?;
    let key = created["secret"].as_str().with_context(|| format!("no key: {created}"))?.to_owned();
    Ok((partner, key))
}

/// Runs a command until it succeeds: what it needs may not have reached the router yet.
async fn succeeds(app: &Integration, args: &[&str]) -> Result<Done> {
    until("a command of the example", 3 * SOON, || async {
        let done = app.run(args).await?;
        ensure!(done.code == Some(0), "{done:?}");
        Ok(done)
    })
    .await
}

/// A wait for as long as the router has asked for, and not much longer.
fn is_patient(note: &Value) -> bool {
    let (Some(waits), Some(told)) = (note["waits"].as_f64(), note["retryAfterSeconds"].as_f64()) else { return false };
    note["refused"] == "RATE_LIMITED" && told >= 1.0 && (told..told + 1.0).contains(&waits)
}

/// It calls three times, more often than it may: each call is let in at last, and is sent twice at most.
async fn calls_and_waits(app: &Integration, partner: &Partner) -> Result<()> {
    for _ in 0..STARTS_MAX {
        let done = app.run(&["me"]).await?;
        let told = &done.lines.first().context("an answer")?;
        ensure!(done.code == Some(0) && told["user"]["id"] == partner.service.id, "{done:?}");
        ensure!(told["limits"][0]["policy"] == "key" && told["limits"][0]["quota"] == 1, "{done:?}");
        ensure!(done.notes.len() <= 3 && done.notes.iter().all(is_patient), "{done:?}");
        if !done.notes.is_empty() {
            return Ok(());
        }
    }
    anyhow::bail!("it was never told to wait")
}

/// It follows when others have used its key up: it is told to wait, and its stream stands after that.
async fn follows_and_waits(stack: &Handle, app: &Integration, call: Call) -> Result<()> {
    for _ in 0..STARTS_MAX {
        let (there, others) = (stack.clone(), call.clone());
        let busy = tokio::spawn(async move { while Way::Post.ask(&there, &others).await.is_ok() {} });
        let mut stream = app.follow()?;
        let first = refused_or_standing(&mut stream).await;
        busy.abort();
        if let Some(note) = first? {
            let told = &note["lost"];
            ensure!(told["refused"] == "RATE_LIMITED" && told["retryAfterSeconds"].as_u64() >= Some(1), "{note}");
            let standing = stream.next(SOON).await?;
            ensure!(standing["following"] == true, "{standing}");
            return Ok(());
        }
    }
    anyhow::bail!("it was never told to wait")
}

/// What it was refused with; nothing when its stream stands at once.
async fn refused_or_standing(stream: &mut Following) -> Result<Option<Value>> {
    let (line, note) = stream.line_or_note(SOON).await?;
    if let Some(line) = line {
        ensure!(line["following"] == true, "{line}");
    }
    Ok(note)
}

async fn an_example_waits_as_long_as_it_is_told(example: Example) -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.shared().await?;
    let (partner, key) = limited(&stack).await?;
    let app = Integration::new(&stack, example, &stack.info.router_url, &key)?;
    let published = succeeds(&app, &["publish"]).await?;
    let operations = published.lines[0]["operations"].as_array().context("operations")?;
    let me = operations.iter().find(|operation| operation["name"] == "Me").context("a query")?;
    let me = Call::of(&key, me["id"].as_str().context("its id")?, &json!({}));
    succeeds(&app, &["me"]).await?;
    calls_and_waits(&app, &partner).await?;
    follows_and_waits(&stack, &app, me).await
}

#[tokio::test]
async fn the_example_in_typescript_waits_as_long_as_the_router_says() -> Result<()> {
    an_example_waits_as_long_as_it_is_told(Example::TypeScript).await
}

#[tokio::test]
async fn the_example_in_python_waits_as_long_as_the_router_says() -> Result<()> {
    an_example_waits_as_long_as_it_is_told(Example::Python).await
}
