//! The sidecar in a browser: one workload as the dashboard shows the mesh.
//!
//! What it is and whether it is well, its certificates, whom it calls and how that goes, and its
//! open connections; drawn from the pages that the admin port has anyway.

use http::HeaderMap;

use crate::http::answers::Answer;
use crate::http::page::{self, Asset};

const FILES: &[Asset] = &[
    Asset::new("index.html", include_str!("index.html")),
    Asset::new("sidecar.js", include_str!("sidecar.js")),
    Asset::new("metrics.js", include_str!("metrics.js")),
];

/// The file at `path`; `None`: it is no file's.
pub fn file(path: &str, headers: &HeaderMap) -> Option<Answer> {
    page::answer(FILES, path, headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_keep_to_the_rules() {
        page::check(FILES);
    }
}
