//! Two manifests and what differs between them, line by line in YAML, as `diff -u` shows it.

use serde_json::Value;
use similar::TextDiff;

use super::super::output::{Format, render};

/// Around each change.
const LINES: usize = 3;

/// The changed lines with a few around them; empty when nothing differs. What the control plane
/// counts (`resourceVersion`, `creationTimestamp`) is no difference.
pub(super) fn unified(before: Option<&Value>, after: Option<&Value>, colour: bool) -> String {
    let (before, after) = (text(before), text(after));
    let diff = TextDiff::from_lines(&before, &after);
    let mut unified = diff.unified_diff();
    let hunks = unified.context_radius(LINES).missing_newline_hint(false).to_string();
    if colour { hunks.lines().map(coloured).collect() } else { hunks }
}

fn text(manifest: Option<&Value>) -> String {
    let Some(mut manifest) = manifest.cloned() else { return String::new() };
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        // Not `remove`, which would move the last field to its place.
        metadata.shift_remove("resourceVersion");
        metadata.shift_remove("creationTimestamp");
    }
    render(&manifest, None, Format::Yaml)
}

/// Red, green and cyan, as `git diff` has them.
fn coloured(line: &str) -> String {
    let code = match line.as_bytes().first() {
        Some(b'-') => 31,
        Some(b'+') => 32,
        Some(b'@') => 36,
        _ => return format!("{line}\n"),
    };
    format!("\u{1b}[{code}m{line}\u{1b}[0m\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_that_differ_are_shown_with_their_neighbours() {
        let manifest = |port: u16, version: &str| {
            let metadata = json!({"name": "web", "resourceVersion": version, "namespace": "shop"});
            json!({"metadata": metadata, "spec": {"ports": [{"port": port}]}})
        };
        let (old, new) = (manifest(80, "1"), manifest(81, "2"));
        let expected = "@@ -3,4 +3,4 @@\n   namespace: shop\n spec:\n   ports:\n-    - port: 80\n+    - port: 81\n";
        let shown = unified(Some(&old), Some(&new), false);
        assert_eq!(shown, expected);
        assert_eq!(unified(Some(&old), Some(&manifest(80, "2")), false), "");
        let created = unified(None, Some(&old), false);
        assert!(created.lines().skip(1).all(|line| line.starts_with('+')), "{created}");
        assert!(!created.contains("resourceVersion"), "{created}");
        let coloured = unified(Some(&old), None, true);
        assert!(coloured.contains("\u{1b}[31m-spec:\u{1b}[0m\n"), "{coloured:?}");
    }
}
