//! Every role is restarted, and a broker and a router are added, while people use the graph: no request fails.

#[path = "rolling/broker.rs"]
mod broker;
#[path = "rolling/crowd.rs"]
mod crowd;
#[path = "rolling/own.rs"]
mod own;

use anyhow::{Context, Result, ensure};
use broker::Broker;
use crowd::Crowd;
use own::OwnStack;
use velvet_e2e::router::Router;
use velvet_faults::front::Front;
use velvet_kit::{Handle, Profile, StackInfo, binaries::Binaries};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_is_restarted_and_brokers_and_routers_join_and_no_request_fails() -> Result<()> {
    let stack = Handle::from_env()?;
    // Two stacks are enough for one machine; nobody else tests meanwhile.
    let _turn = stack.exclusive().await?;
    let own = OwnStack::start(&stack).await?;
    let outcome = operate(own.handle()).await;
    own.end().await?;
    outcome
}

async fn operate(stack: &Handle) -> Result<()> {
    let front = Front::of(stack);
    let mut crowd = Crowd::gather(&front).await?;
    crowd.while_busy("nothing happens", async { crowd::settled().await }).await?;
    let told = crowd.while_busy("every role is restarted in turn", roll(stack)).await?;
    println!("{told}");

    let broker = crowd.while_busy("a broker joins", Broker::join(stack)).await?;
    let moved = crowd.while_busy("it takes its part of the log", broker.take_part(stack)).await?;
    println!("partitions on the new broker: {moved}");
    ensure!(moved > 0, "it has taken nothing");

    let third = Router::start(stack, &[("VELVET_ROUTERS", "3")], |_| {}).await?;
    front.add(stack, &third.info.router_url, &third.info.router_health_url);
    crowd.while_busy("a router joins", async { crowd::settled().await }).await?;
    ensure!(front.asked_of(&third.info.router_url) > 0, "nobody came to the new router");
    crowd.check_everyone_heard_everything(stack).await
}

/// The command for it.
async fn roll(stack: &Handle) -> Result<String> {
    let file = StackInfo::path(&stack.info.state);
    let file = file.to_str().context("a path")?;
    Binaries::find(&stack.info.root, Profile::Debug)?
        .run("velvet-stack", &["roll", "--stack", file], &stack.info.root)
        .await
}
