//! What holds for any bytes that a stranger may send, each a function that panics where it doesn't.
//!
//! Shared by the fuzzer, which looks for such bytes, and by the ordinary test, which runs them over
//! everything that was worth keeping. None of them knows how it is called.

mod certificates;
mod detection;
mod http1;
mod http2;
mod path;
mod resources;
mod tokens;

/// A property and what it is about; the name is that of its fuzz target and of its corpus.
pub struct Property {
    pub name: &'static str,
    pub holds: fn(&[u8]),
}

pub const ALL: [Property; 7] = [
    Property { name: "certificates", holds: certificates::hold },
    Property { name: "detection", holds: detection::hold },
    Property { name: "http1", holds: http1::hold },
    Property { name: "http2", holds: http2::hold },
    Property { name: "path", holds: path::hold },
    Property { name: "resources", holds: resources::hold },
    Property { name: "tokens", holds: tokens::hold },
];

/// Runs the property of this name.
pub fn run(name: &str, data: &[u8]) {
    let property = ALL.iter().find(|property| property.name == name);
    (property.expect("a property of this name").holds)(data);
}
