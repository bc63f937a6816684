//! Compiles the protobuf files under `proto/` with `protox`, so that nobody has to install
//! `protoc`.
//!
//! The generated code lands in `OUT_DIR`, one file a package, for `tonic::include_proto!`, and with
//! it the description of all messages, for the test that keeps old sidecars working.

use std::error::Error;
use std::path::Path;

use tonic_prost_build::configure;

const FILES: &[&str] = &[
    "outrigger/v1/identity.proto",
    "outrigger/v1/mesh.proto",
    "outrigger/v1/authority.proto",
    "outrigger/v1/configuration.proto",
    "outrigger/v1/observe.proto",
    "outrigger/v1/replicas.proto",
    "outrigger/v1/tap.proto",
    "outrigger/demo/v1/prices.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(FILES, ["proto"])?;
    let described = Path::new(&std::env::var("OUT_DIR")?).join("outrigger.binpb");
    let codec = "crate::wire::Codec";
    configure().file_descriptor_set_path(described).codec_path(codec).compile_fds(files)?;
    Ok(())
}
