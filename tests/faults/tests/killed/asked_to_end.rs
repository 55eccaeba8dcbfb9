//! SIGTERM, and what `/health` and `/ready` say: what an orchestrator goes by.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use std::time::Duration;
use velvet_e2e::person::{register, registration};
use velvet_faults::{HEALED, metrics};
use velvet_kit::{Handle, until};

/// Longer than telling a process to end takes, and shorter than a request waits for its outcome.
const SOON: Duration = Duration::from_secs(4);
/// Few enough that their passwords are hashed well before the first has waited too long.
const REQUESTS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_that_is_asked_to_end_answers_all_that_it_was_asked() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    // Each waits for what the writer decides, and for this very process to project it.
    let client = stack.subgraph_client("accounts")?;
    let people: Vec<_> = (0..REQUESTS).map(|number| registration(&format!("person-{number}"))).collect();
    stack.writer().pause().await?;
    let asking = try_join_all(people.iter().map(|input| register(&client, input)));
    let ending = async {
        until("all requests to be in flight", SOON, || async {
            let in_flight = metrics::total(&stack.info.api_url, "velvet_requests_in_flight").await?;
            #[expect(clippy::cast_precision_loss, reason = "a handful")]
            let expected = REQUESTS as f64;
            ensure!(in_flight >= expected, "{in_flight} of {REQUESTS}");
            Ok(())
        })
        .await?;
        let api = stack.api();
        let stopped = api.stop();
        let resumed = async {
            until("the API to take no more", SOON, || async {
                let asked = reqwest::get(format!("{}/health", stack.info.api_url)).await;
                ensure!(asked.is_err(), "it still answers");
                Ok(())
            })
            .await?;
            stack.writer().resume().await
        };
        futures::try_join!(stopped, resumed)
    };
    let answers = futures::try_join!(asking, ending);
    // Others want it, whatever came of this.
    stack.writer().resume().await?;
    stack.api().start().await?;
    for (answer, input) in answers?.0.iter().zip(&people) {
        assert_eq!(answer["__typename"], "Session", "{answer}");
        assert_eq!(answer["account"]["email"], input["email"]);
    }
    Ok(())
}

/// The status of a probe and what it says.
async fn probe(url: &str, path: &str) -> Result<(u16, String)> {
    let answer = reqwest::get(format!("{url}{path}")).await.with_context(|| format!("asking {url}{path}"))?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

async fn becomes(url: &str, status: u16, reason: &str) -> Result<()> {
    until(&format!("{url}/ready to say {status}"), HEALED, || async {
        let (now, said) = probe(url, "/ready").await?;
        ensure!(now == status && said.contains(reason), "{now} {said}");
        Ok(())
    })
    .await?;
    // Whoever only waits must not be killed for it.
    assert_eq!(probe(url, "/health").await?.0, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_is_ready_when_what_it_needs_is_there_and_healthy_all_along() -> Result<()> {
    let stack = Handle::from_env()?;
    let _turn = stack.exclusive().await?;
    let (api, writer) = (&stack.info.api_url, &stack.info.writer_url);
    becomes(api, 200, "ready").await?;
    becomes(writer, 200, "ready").await?;

    stack.postgres(0).stop().await?;
    becomes(writer, 503, "shard 0").await?;
    becomes(api, 200, "ready").await?;
    // Nobody can fill an empty Redis now.
    stack.wipe_redis().await?;
    becomes(api, 503, "Redis is being rebuilt").await?;

    stack.postgres(0).start().await?;
    becomes(writer, 200, "ready").await?;
    becomes(api, 200, "ready").await
}
