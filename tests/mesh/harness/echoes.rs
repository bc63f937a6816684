//! Apps that each answer with their own name, and services of these names before them.

use super::{App, Message, yaml};

pub struct Echoes(Vec<(&'static str, App)>);

impl Echoes {
    /// A service and one app for each name.
    pub fn named<const N: usize>(names: [&'static str; N]) -> Self {
        Self(names.map(|name| (name, echo(name))).into())
    }

    /// `echo`, and three that routes may send its requests to.
    pub fn four() -> Self {
        Self::named(["echo", "v1", "v2", "v3"])
    }

    /// Their services and workloads.
    pub fn yaml(&self) -> String {
        let one = |(name, app): &(&'static str, App)| {
            yaml::service(name) + &yaml::workload(name, name, app.address)
        };
        self.0.iter().map(one).collect()
    }

    /// The same, with more documents.
    pub fn with(&self, documents: &str) -> String {
        self.yaml() + documents
    }

    #[track_caller]
    pub fn app(&self, name: &str) -> &App {
        let found = self.0.iter().find(|(of, _)| *of == name);
        found.map(|(_, app)| app).unwrap_or_else(|| panic!("no app is called {name:?}"))
    }

    /// How many requests came to all of them.
    pub fn requests(&self) -> usize {
        self.0.iter().map(|(_, app)| app.requests().len()).sum()
    }
}

/// Says its name; a request header `x-back-…: value` comes back as the header `…: value`.
fn echo(name: &'static str) -> App {
    App::http(move |request| answer(name, request))
}

fn answer(name: &str, request: &Message) -> Vec<u8> {
    let back = |(name, value): &(String, String)| {
        let name = name.to_ascii_lowercase();
        name.strip_prefix("x-back-").map(|name| format!("{name}: {value}\r\n"))
    };
    let back: String = request.headers.iter().filter_map(back).collect();
    let body = if request.method() == "HEAD" { "" } else { name };
    let length = name.len();
    format!("HTTP/1.1 200 OK\r\nx-app: {name}\r\n{back}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}
