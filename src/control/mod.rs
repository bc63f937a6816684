//! The control plane: certificates, discovery, registrations and configuration.
//!
//! `store` (what is never forgotten) → `catalog` (the picture in memory) → `api` (what sidecars and
//! people may ask) over TLS from `ca`. It decides who may be who and who is told what; no request
//! of an app passes through it.

mod admin;
mod admission;
pub mod api;
pub mod ca;
pub mod catalog;
pub mod crd;
mod custody;
mod dashboard;
mod desk;
mod door;
mod files;
pub mod grant;
mod home;
mod housekeeping;
pub mod inject;
pub mod install;
mod issuer_files;
pub mod kube;
mod lease;
mod membership;
pub mod memory;
mod metrics;
mod operator;
mod own;
mod plaintext;
mod registrar;
pub mod replicas;
mod rotating;
mod run;
mod sessions;
mod settings;
pub mod store;
pub mod tokens;
pub mod validator;
pub mod webhook;

pub use files::FileError;
pub use issuer_files::IssuerFiles;
pub use operator::{OperatorToken, Operators};
pub use run::run;
pub use settings::Settings;
