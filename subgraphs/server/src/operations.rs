//! A partner's operations, from the partner's side: everything goes over HTTP, with one of its keys.

mod report;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use report::{Listing, Report};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};
use velvet_kernel::time::fresh_id;

/// Publishing plans up to 500 operations.
const ANSWER_WITHIN: Duration = Duration::from_mins(2);
/// What the router takes a partner's key from; `authorization` is for a user's token.
const KEY_HEADER: &str = "x-api-key";
/// The largest manifest, in bytes; no release may be larger.
const MANIFEST_SIZE_MAX_BYTES: u64 = 1_200_000;
/// Pages of a listing that are read at most: more operations than a partner may have.
const PAGES_MAX: usize = 100;

/// What is done with operations.
#[derive(Subcommand)]
pub enum Command {
    /// Has the router check a manifest, and publishes it: all of it or nothing.
    Publish {
        #[command(flatten)]
        who: Who,
        /// The router's address.
        #[arg(long, default_value = "http://127.0.0.1:4000")]
        router: String,
        /// Whose operations these are, such as `web`.
        #[arg(long, default_value = "default")]
        client: String,
        /// The same one again is the same request; a new one when left out.
        #[arg(long)]
        idempotency_key: Option<String>,
        /// The manifest.
        manifest: PathBuf,
    },
    /// Lists the operations, newest first.
    List {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        accounts: Accounts,
    },
    /// Shows one operation with its document.
    Show {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        accounts: Accounts,
        /// The operation's id.
        id: String,
    },
    /// Ends an operation: nobody calls it by its id any more.
    Retire {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        accounts: Accounts,
        /// The operation's id.
        id: String,
    },
}

/// Who asks.
#[derive(Args)]
pub struct Who {
    /// The partner's short name.
    #[arg(long)]
    partner: String,
    /// One of the partner's keys; better kept in the environment than in a shell's history.
    #[arg(long, env = "VELVET_PARTNER_KEY", hide_env_values = true)]
    key: String,
}

/// Where accounts is.
#[derive(Args)]
pub struct Accounts {
    /// The address of the accounts subgraph.
    #[arg(long, default_value = "http://127.0.0.1:4100")]
    accounts: String,
}

/// Does it.
pub async fn run(command: Command) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().timeout(ANSWER_WITHIN).build().context("making an HTTP client")?;
    match command {
        Command::Publish { who, router, client, idempotency_key, manifest } => {
            let idempotency_key = idempotency_key.unwrap_or_else(|| fresh_id().to_string());
            let about = [("client", client.as_str()), ("idempotencyKey", &idempotency_key)];
            publish(&http, &who, &router, &about, &manifest).await
        }
        Command::List { who, accounts } => list(&Session::open(&http, &who, &accounts).await?).await,
        Command::Show { who, accounts, id } => {
            let session = Session::open(&http, &who, &accounts).await?;
            let shown = session.get("/show", &[("id", &id)]).await?;
            println!("{}", report::operation(&shown["operation"]));
            Ok(())
        }
        Command::Retire { who, accounts, id } => {
            let session = Session::open(&http, &who, &accounts).await?;
            session.post("/retire", json!({ "partner": who.partner, "id": id })).await?;
            println!("retired {id}");
            Ok(())
        }
    }
}

async fn publish(
    http: &reqwest::Client,
    who: &Who,
    router: &str,
    about: &[(&str, &str)],
    manifest: &PathBuf,
) -> anyhow::Result<()> {
    let name = manifest.display();
    let size = tokio::fs::metadata(manifest).await.with_context(|| format!("reading {name}"))?.len();
    if size > MANIFEST_SIZE_MAX_BYTES {
        bail!("{name} has more than {MANIFEST_SIZE_MAX_BYTES} bytes");
    }
    let text = tokio::fs::read_to_string(manifest).await.with_context(|| format!("reading {name}"))?;
    let url = format!("{}/graphql/op", router.trim_end_matches('/'));
    let request =
        http.post(&url).query(about).header(KEY_HEADER, &who.key).header("content-type", "application/json").body(text);
    let (status, answer) = read(request.send().await.with_context(|| format!("asking {url}"))?).await?;
    let Ok(report) = serde_json::from_value::<Report>(answer.clone()) else {
        bail!("{url} answered {status}: {}", report::refusal(&answer));
    };
    print!("{report}");
    if !report.ok {
        bail!("refused: nothing was published");
    }
    Ok(())
}

async fn list(session: &Session<'_>) -> anyhow::Result<()> {
    let mut operations = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut query = vec![("first", "100")];
        query.extend(after.as_deref().map(|after| ("after", after)));
        let mut page = session.get("", &query).await?;
        operations.extend(page["operations"].as_array_mut().map(std::mem::take).unwrap_or_default());
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    print!("{}", Listing(operations));
    Ok(())
}

/// A token for a key, and where it is good.
struct Session<'a> {
    http: &'a reqwest::Client,
    partner: &'a str,
    base: String,
    token: String,
}

impl<'a> Session<'a> {
    async fn open(http: &'a reqwest::Client, who: &'a Who, accounts: &Accounts) -> anyhow::Result<Self> {
        let base = format!("{}/accounts/partners", accounts.accounts.trim_end_matches('/'));
        let request = http.post(format!("{base}/token")).json(&json!({ "key": who.key }));
        let answer = good(request).await?;
        let token = answer["token"].as_str().context("no token came")?.to_owned();
        Ok(Self { http, partner: &who.partner, base: format!("{base}/operations"), token })
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let request = self.http.get(format!("{}{path}", self.base)).query(&[("partner", self.partner)]).query(query);
        good(request.bearer_auth(&self.token)).await
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.base)).json(&body);
        good(request.bearer_auth(&self.token)).await
    }
}

async fn good(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let (status, answer) = read(request.send().await.context("asking accounts")?).await?;
    if !(200..300).contains(&status) {
        bail!("accounts answered {status}: {}", report::refusal(&answer));
    }
    Ok(answer)
}

async fn read(response: reqwest::Response) -> anyhow::Result<(u16, Value)> {
    let status = response.status().as_u16();
    let text = response.text().await.context("reading the answer")?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
