//! The files under `deploy` that are made from the source of `install`.
//!
//! They are committed, so that a chart can be fetched without building anything; a test makes them
//! again and compares.

use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

use super::{chart, kustomize};
use crate::cli::{FAILED, complain, emit};

/// At the head of each of them.
pub(super) const GENERATED: &str =
    "# Made by `outrigger install --write-deploy deploy`; change the source, not this.\n";

/// A file that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// From the folder `deploy`.
    pub(super) path: String,
    pub(super) text: String,
}

impl File {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> File {
        File { path: path.into(), text: text.into() }
    }
}

/// All of them.
pub(super) fn files() -> Vec<File> {
    let mut all = chart::files();
    all.extend(kustomize::files());
    all
}

/// Writes them below a folder.
pub(super) fn write(folder: &Path) -> ExitCode {
    let all = files();
    for File { path, text } in &all {
        let path = folder.join(path);
        if let Err(error) = put(&path, text) {
            complain(&format!("error: {}: {error}", path.display()));
            return ExitCode::from(FAILED);
        }
    }
    emit(&format!("{} files\n", all.len()))
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text)
}
