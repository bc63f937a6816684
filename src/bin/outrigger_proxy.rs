//! `outrigger-proxy`: the sidecar, small and without anything it doesn't need; see `cli::proxy`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    outrigger::cli::proxy::main()
}
