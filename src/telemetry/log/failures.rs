//! Says in the log what was refused, in one line for each reason and service every few seconds: with
//! the sentence and causes of the newest, and how many were left out. The sentence is no part of what
//! makes two alike: it may hold a path or a host, which callers choose, and whoever varies them would
//! fill the log. At `debug` none is left out. What is refused on purpose is said at `debug` alone.
//!
//! Each worker's wings keep their own. A request that succeeds costs nothing here, and one that is
//! left out formats and allocates nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use super::Repeats;
use crate::model::Reason;

/// Events of this module go by a name of their own: who reads them cares for what failed, not for
/// which file says so.
const TARGET: &str = "outrigger::refused";

/// What one wing of a worker told the log lately: by reason, then by service.
#[derive(Debug, Default)]
pub struct Failures(RefCell<HashMap<Reason, Repeats>>);

impl Failures {
    /// A request, connection or handshake (`what`) was refused to `client`.
    pub fn tell(
        &self,
        what: &str,
        service: &str,
        client: SocketAddr,
        reason: Reason,
        sentence: &str,
    ) {
        if reason == Reason::FaultInjected {
            return tracing::debug!(target: TARGET, %reason, service, %client, "{what}: {sentence}");
        }
        let left_out = self.0.borrow_mut().entry(reason).or_default().note(service, Instant::now());
        match left_out {
            Some(left_out) => {
                tracing::warn!(target: TARGET, %reason, service, %client, left_out, "{what}: {sentence}");
            }
            None => {
                tracing::debug!(target: TARGET, %reason, service, %client, "{what}: {sentence}");
            }
        }
    }
}

impl Failures {
    /// Says how many were left out of what has come to its end; to be called every few seconds.
    pub fn settle(&self, now: Instant) {
        for (reason, repeats) in &mut *self.0.borrow_mut() {
            repeats.settle(now, |service, left_out| {
                tracing::warn!(target: TARGET, %reason, service, left_out, "more of the same");
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;

    /// Takes warnings, and nothing below.
    #[derive(Clone, Default)]
    struct Reader {
        lines: Arc<Mutex<Vec<String>>>,
    }

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0.push_str(&format!(" {}={value:?}", field.name()));
        }
    }

    impl Subscriber for Reader {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= tracing::Level::WARN
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.lines.lock().expect("nobody panicked").push(line.0);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn what_callers_choose_makes_no_lines() {
        let (reader, failures) = (Reader::default(), Failures::default());
        let client = "10.0.0.1:4321".parse().expect("an address");
        tracing::subscriber::with_default(reader.clone(), || {
            for n in 0..1000 {
                let sentence = format!("no route takes /{n}");
                failures.tell("request refused", "web", client, Reason::NoRoute, &sentence);
            }
            failures.tell("request refused", "api", client, Reason::NoRoute, "no route takes /");
            failures.tell("request refused", "web", client, Reason::Denied, "nobody may");
            failures.tell("request refused", "web", client, Reason::FaultInjected, "on purpose");
            failures.settle(Instant::now());
            failures.settle(Instant::now() + std::time::Duration::from_secs(5));
        });
        let lines = reader.lines.lock().expect("nobody panicked");
        assert_eq!(lines.len(), 4, "{lines:?}");
        for words in ["more of the same", "reason=no-route", "web", "left_out=999"] {
            assert!(lines[3].contains(words), "no {words:?} in {}", lines[3]);
        }
        for words in ["no route takes /0", "reason=no-route", "web", "left_out=0"] {
            assert!(lines[0].contains(words), "no {words:?} in {}", lines[0]);
        }
    }
}
