//! `outrigger`: everything but the sidecar. The arguments decide; see `cli::outrigger`.

#[global_allocator]
static ALLOCATOR: outrigger::runtime::Allocator = outrigger::runtime::Allocator;

fn main() -> std::process::ExitCode {
    outrigger::cli::outrigger::main()
}
