//! The dashboard: the mesh in a browser, on the admin port.
//!
//! A map of who calls whom, each service, traces, certificates, and the control plane itself, drawn
//! from the JSON below `/api/`. The files are built into the program as they stand; `main.js` is
//! where to begin to read them. The admin port serves them under its own rules about who may ask.

use http::HeaderMap;

use crate::http::answers::Answer;
use crate::http::page::{self, Asset};

const FILES: &[Asset] = &[
    Asset::new("index.html", include_str!("index.html")),
    Asset::new("dashboard.css", include_str!("dashboard.css")),
    Asset::new("main.js", include_str!("main.js")),
    Asset::new("certificates.js", include_str!("certificates.js")),
    Asset::new("chart.js", include_str!("chart.js")),
    Asset::new("graph.js", include_str!("graph.js")),
    Asset::new("health.js", include_str!("health.js")),
    Asset::new("layout.js", include_str!("layout.js")),
    Asset::new("map.js", include_str!("map.js")),
    Asset::new("search.js", include_str!("search.js")),
    Asset::new("service.js", include_str!("service.js")),
    Asset::new("services.js", include_str!("services.js")),
    Asset::new("trace.js", include_str!("trace.js")),
    Asset::new("traces.js", include_str!("traces.js")),
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
