#![doc = include_str!("../README.md")]

mod compose;
mod plugins;

use std::process::ExitCode;

use apollo_router::{Executable, ShutdownSource};

/// The one subcommand that is ours; everything else goes to Apollo Router's own command line.
const COMPOSE: &str = "compose";

fn main() -> ExitCode {
    let result = if std::env::args().nth(1).as_deref() == Some(COMPOSE) {
        compose::run(std::env::args().skip(1))
    } else {
        serve()
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
/// drain does not know them, and the process would be gone before their close frames were.
fn serve() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shutdown = ShutdownSource::Custom(Box::pin(plugins::subscriptions::drained()));
    runtime.block_on(Executable::builder().shutdown(shutdown).start())
}
