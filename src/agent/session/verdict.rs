//! What became of an update, in words: for the log, and for the control plane.
//!
//! Says what is wrong, and not more of it than anybody reads: what is wrong with one policy of the
//! mesh is wrong with every service.

use tracing::error;

use crate::wire::v1;

/// Sentences of a verdict.
const SENTENCES: usize = 16;

/// It is in use, but for the attachments that have faults.
pub fn taken(version: String, faults: Vec<String>) -> v1::Verdict {
    let faults = few(faults);
    if !faults.is_empty() {
        let said = faults.join("; ");
        error!(version, "some attachments can't be used, those before stay: {said}");
    }
    v1::Verdict { version, errors: Vec::new(), faults }
}

/// It is not in use.
pub fn refused(version: String, errors: Vec<String>) -> v1::Verdict {
    let errors = few(errors);
    let said = errors.join("; ");
    error!(version, "an update can't be used, the last good state stays: {said}");
    v1::Verdict { version, errors, faults: Vec::new() }
}

pub fn few(mut sentences: Vec<String>) -> Vec<String> {
    let more = sentences.len().saturating_sub(SENTENCES);
    sentences.truncate(SENTENCES);
    sentences.extend((more > 0).then(|| format!("and {more} more")));
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_no_more_than_anybody_reads() {
        let faults = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(taken("1".into(), faults(SENTENCES)).faults.len(), SENTENCES);
        let many = refused("1".into(), faults(SENTENCES + 3)).errors;
        assert_eq!((many.len(), many[SENTENCES].as_str()), (SENTENCES + 1, "and 3 more"));
    }
}
