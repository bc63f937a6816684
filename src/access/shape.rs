//! The form of a path that a rule asks for, made ready to be compared segment by segment.
//!
//! A rule that allows takes a normalised path as it stands. One that denies is compared with what
//! servers may make of a path, in which escapes are read ([`path::plain`]), so its own are too.

use crate::http::path;
use crate::model::Action;
use crate::resources::access_policy::pattern::{self, PathPattern, Segment};

/// The form of a path.
#[derive(Debug)]
pub struct Shape(Box<[Piece]>);

/// What one segment must be.
#[derive(Debug)]
pub enum Piece {
    /// This text.
    Text(Box<str>),
    /// Anything but empty.
    One,
    /// All that is left.
    Rest,
}

impl Shape {
    pub fn of(pattern: &PathPattern, action: Action) -> Self {
        let text = |written: &str| match action {
            Action::Allow => written.into(),
            Action::Deny => path::plain(written).into(),
        };
        let pieces = pattern.segments().map(|segment| match segment {
            Segment::Text(written) => Piece::Text(text(written)),
            Segment::One => Piece::One,
            Segment::Rest => Piece::Rest,
        });
        Self(pieces.collect())
    }

    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Whether `path`, which begins with a slash, has this form.
    pub fn fits(&self, path: &str) -> bool {
        let segments = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => Segment::Text(text),
            Piece::One => Segment::One,
            Piece::Rest => Segment::Rest,
        });
        pattern::fit(segments, path)
    }
}
