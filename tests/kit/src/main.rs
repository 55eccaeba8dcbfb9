//! `velvet-stack`: what `dev/up`, `dev/down`, `dev/test` and `dev/bench` call once everything is built.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("velvet-stack: {cause}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(code) => code,
        Err(cause) => {
            eprintln!("velvet-stack: {cause:#}");
            ExitCode::FAILURE
        }
    }
}
