//! Compiles the protobuf files under `proto/` with `protox`, so that nobody has to install
//! `protoc`. Only the `control` wing speaks protobuf; a proxy alone is built without any of it.
//!
//! The generated code lands in `OUT_DIR`, one file a package, for `tonic::include_proto!`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "control")]
    compile()?;
    Ok(())
}

#[cfg(feature = "control")]
fn compile() -> Result<(), Box<dyn Error>> {
    const FILES: &[&str] = &["outrigger/demo/v1/prices.proto"];
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure().compile_fds(files)?;
    Ok(())
}
