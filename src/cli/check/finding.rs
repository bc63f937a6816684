//! Something that was found out, and what to do about it.
//!
//! A finding without a cure is one that needs none.

use serde_json::{Value, json};

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Fine,
    /// It works, and somebody should know.
    Remark,
    /// It doesn't do what it is for.
    Failed,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) about: &'static str,
    pub(super) says: String,
    cure: String,
}

/// So that what is said lines up.
const WIDTH: usize = 14;

impl Finding {
    pub(super) fn fine(about: &'static str, says: impl Into<String>) -> Finding {
        Finding { level: Level::Fine, about, says: says.into(), cure: String::new() }
    }

    pub(super) fn remark(
        about: &'static str,
        says: impl Into<String>,
        cure: impl Into<String>,
    ) -> Finding {
        Finding { level: Level::Remark, about, says: says.into(), cure: cure.into() }
    }

    pub(super) fn failed(
        about: &'static str,
        says: impl Into<String>,
        cure: impl Into<String>,
    ) -> Finding {
        Finding { level: Level::Failed, about, says: says.into(), cure: cure.into() }
    }

    /// For people. What servers said must not steer a terminal.
    pub(super) fn lines(&self) -> String {
        let Finding { level, about, says, cure } = self;
        let mark = match level {
            Level::Fine => '✓',
            Level::Remark => '!',
            Level::Failed => '✗',
        };
        let clean = |text: &str| -> String {
            let visible = |c: char| if c.is_control() { ' ' } else { c };
            text.chars().map(visible).collect()
        };
        let mut lines = format!("{mark} {about:WIDTH$} {}\n", clean(says));
        if !cure.is_empty() {
            lines.push_str(&format!("  {:WIDTH$} → {}\n", "", clean(cure)));
        }
        lines
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let Finding { level, about, says, cure } = self;
        let level = match level {
            Level::Fine => "fine",
            Level::Remark => "remark",
            Level::Failed => "failed",
        };
        let cure = (!cure.is_empty()).then_some(cure);
        json!({"level": level, "about": about, "says": says, "cure": cure})
    }
}
