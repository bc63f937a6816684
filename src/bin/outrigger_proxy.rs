//! The sidecar.
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = std::env::args().skip_while(|a| a != "--config").nth(1).map(Into::into);
    outrigger::app::run(&outrigger::app::Options { config, flags: Vec::new() })
}
