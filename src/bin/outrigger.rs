//! `outrigger`: everything but the sidecar. The arguments decide; see `cli::outrigger`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    outrigger::cli::outrigger::main()
}
