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
use std::time::Instant;
use velvet_e2e::router::Router;
use velvet_faults::front::Front;
use velvet_kit::{Handle, Profile, StackInfo, binaries::Binaries};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_is_restarted_and_brokers_and_routers_join_and_no_request_fails() -> Result<()> {
    let stack = Handle::from_env()?;
    // Two stacks are enough for one machine; nobody else tests meanwhile.
    let _turn = stack.exclusive().await?;
    let since = Instant::now();
    let own = OwnStack::start(&stack).await?;
    println!("a stack of its own is up after {:.1} s", since.elapsed().as_secs_f64());
    let outcome = Box::pin(operate(own.handle())).await;
    let since = Instant::now();
    own.end().await?;
    println!("it has ended after {:.1} s", since.elapsed().as_secs_f64());
    outcome
}

async fn operate(stack: &Handle) -> Result<()> {
    let front = Front::of(stack);
    let mut crowd = Crowd::gather(&front).await?;
    crowd.while_busy("nothing happens", crowd::settled(&front)).await?;
    let told = crowd.while_busy("every role is restarted in turn", roll(stack)).await?;
    println!("{told}");

    let third = Router::start(stack, &[("VELVET_ROUTERS", "3")], |_| {});
    let joining = Box::pin(async { futures::try_join!(Broker::join(stack), third) });
    let (broker, third) = crowd.while_busy("a broker and a router start", joining).await?;
    front.add(stack, &third.info.router_url, &third.info.router_health_url);
    crowd.while_busy("the router joins", crowd::settled(&front)).await?;
    let moved = crowd.while_busy("the broker takes its part of the log", broker.take_part(stack)).await?;
    println!("partitions on the new broker: {moved}");
    ensure!(moved > 0, "it has taken nothing");
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
