//! `outrigger-proxy`: the sidecar, small and without anything it doesn't need; see `cli::proxy`.

#[global_allocator]
static ALLOCATOR: outrigger::runtime::Allocator = outrigger::runtime::Allocator;

fn main() -> std::process::ExitCode {
    outrigger::cli::proxy::main()
}
