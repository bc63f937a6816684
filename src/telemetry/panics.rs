//! Panics, counted and told: each is a defect, wherever it happens.
//!
//! The hook runs on the thread that panics, before anything is unwound; so a panic is counted and in
//! the log once, whoever catches it afterwards, and also where nobody does.

use std::thread;

use super::metrics::Registry;

/// Counts the panics of this process from now on, and says in the log where each was.
pub fn count(registry: &Registry) {
    let panics = registry.counter(
        "outrigger_task_panics_total",
        "Tasks that panicked; each is a defect of the program.",
    );
    std::panic::set_hook(Box::new(move |panic| {
        panics.inc();
        let at = panic.location().map(tracing::field::display);
        let current = thread::current();
        let why = panic.payload_as_str().unwrap_or("without a word");
        tracing::error!(at, thread = current.name(), "a task panicked: {why}");
    }));
}
