//! One thing wrong with an input, said so that a person can mend it: where it
//! stands, which field it is, what is the matter and what would do. Readers
//! collect faults and go on, so that all of them are shown at once; nothing in
//! this room stops at the first. Made by the decoder, shown by the binaries.

use super::node::Origin;

/// Something in an input that can't be used.
///
/// Displays as `mesh/web.yaml:12: spec.ports[0].port: expected a number from
/// 1 to 65535, found "http"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{at}: {}{}{message}", path, if path.is_empty() { "" } else { ": " })]
pub struct Fault {
    /// Where the offending text stands.
    pub at: Origin,
    /// The field, as in `spec.ports[0].port`; empty for a whole document.
    pub path: String,
    /// Cause and cure, in one sentence without a full stop.
    pub message: String,
}

impl Fault {
    /// A fault of a whole file or document.
    pub fn new(at: Origin, message: impl Into<String>) -> Fault {
        Fault { at, path: String::new(), message: message.into() }
    }
}

/// The candidate that `word` most likely meant, if any is near enough.
///
/// At most a third of the word may differ (at least one edit), compared
/// without regard to case: enough for a slip of the finger, too little to
/// suggest an unrelated name.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean `listen`?`, or the fallback when nothing is near.
pub fn suggestion<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    match nearest(word, candidates) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => otherwise(),
    }
}

/// Edits (insert, remove, replace, swap neighbours) from one word to the other;
/// words past 64 characters count as wholly different.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    if left.len() > 64 || right.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = vec![0; right.len() + 1];
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let mut edits = (above[j] + usize::from(l != r)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                edits = edits.min(before[j - 1] + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["listen", "ports", "serviceAccount", "unknown"];
        let rows = [
            ("lisen", Some("listen")),
            ("lsiten", Some("listen")),
            ("port", Some("ports")),
            ("service_account", Some("serviceAccount")),
            ("SERVICEACCOUNT", Some("serviceAccount")),
            ("unkonwn", Some("unknown")),
            ("colour", None),
            ("", None),
        ];
        for (word, expected) in rows {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn a_whole_file_has_no_field_path() {
        let at = Origin::file("mesh/web.yaml");
        assert_eq!(Fault::new(at, "is empty").to_string(), "mesh/web.yaml: is empty");
    }
}
