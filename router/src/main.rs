#![doc = include_str!("../README.md")]

mod check;
mod compose;
mod plugins;

use std::process::ExitCode;

use apollo_router::{Executable, ShutdownSource};

/// The subcommands that are ours; everything else goes to Apollo Router's own command line.
const COMPOSE: &str = "compose";
const CHECK: &str = "check";

fn main() -> ExitCode {
    let arguments = std::env::args().skip(1);
    let result = match std::env::args().nth(1).as_deref() {
        Some(COMPOSE) => compose::run(arguments),
        Some(CHECK) => return check::run(arguments),
        _ => serve(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `apollo_router::main` does, except that the shutdown first closes the sockets: the HTTP server's own
/// drain does not know them, and the process would be gone before their close frames were. And the last calls of partners
/// are counted.
fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shutdown = ShutdownSource::Custom(Box::pin(plugins::subscriptions::drained()));
    let ended = runtime.block_on(Executable::builder().shutdown(shutdown).start());
    runtime.block_on(plugins::partners::delivered());
    ended
}
