//! Routes, their filters, mirrors, balancing and services outside the mesh: told in resource files,
//! seen at the apps.
//!
//! Where the Gateway API has a conformance case, there is a table for it, written anew.

mod balancing;
mod cors;
mod edits;
mod external;
mod grpc_matching;
mod grpc_tls;
mod hashing;
mod locality;
mod matching;
mod mesh;
mod mirror;
mod mirror_trouble;
mod precedence;
mod redirects;
mod reload;
mod targets;
mod times;
mod updates;
mod weights;
