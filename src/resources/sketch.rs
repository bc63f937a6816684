//! What a decoder takes, found out by asking it.
//!
//! A decoder that reads nothing at all asks for everything: [`Sketch::of`] has it do so and writes
//! down each field that it asks for, whether it must be there, and the words and bounds that it
//! would take. So the schemas of the Kubernetes kinds come from the decoders themselves, and can't
//! say something else. Where a field is taken in several forms, [`FORMS`] names the others.

use super::decode::Decoder;
use super::node::{Node, Origin};
use super::yaml;

/// Something that a decoder takes at a place, or says about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    Required,
    Optional,
    /// With the fields that are noted below it.
    Map,
    /// With the items that are noted below it, under `[]`.
    List,
    /// At most so many items or entries.
    AtMost(usize),
    Boolean,
    /// Of a boolean: it is said or left out.
    True,
    /// From and to, both included.
    Integer(i64, i64),
    /// From 0 to 100, with at most four decimals.
    Percentage,
    /// A number of bytes or a text such as `64KiB`.
    Size,
    /// One of these.
    Words(Vec<String>),
    /// As the fault says that is shown for anything else.
    Text(String),
    /// A map of labels.
    Labels,
    /// A map of texts.
    Texts,
    /// A map of texts, or lists of them.
    TextLists,
}

/// Places, in the order in which they are asked for, and what is noted at each.
///
/// A place is written as in a fault, `ports[].name`; the empty one is the spec itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    places: Vec<(String, Vec<Note>)>,
}

/// What to write where a decoder decides by the form that it finds: the form that is not text.
const FORMS: &[(&str, &str)] = &[
    ("RateLimitPolicy", "concurrency: {limit: 0}"),
    ("TrafficPolicy", "fault: {abort: {grpcStatus: 0}}"),
    ("TrafficPolicy", "retry: {methods: [], statusCodes: ['-']}"),
    ("TrafficPolicy", "tls: {}"),
];

impl Sketch {
    /// Of the decoder of a kind.
    pub(super) fn of(kind: &str, decode: impl Fn(&Node, &mut Decoder)) -> Sketch {
        let mut decoder = Decoder::sketching();
        let forms = FORMS.iter().filter(|(of, _)| *of == kind);
        let written = forms.flat_map(|(_, text)| yaml::parse(text, &Origin::Default));
        let nothing = Node::null(Origin::Default);
        for spec in std::iter::once(nothing).chain(written.flatten()) {
            decode(&spec, &mut decoder);
        }
        decoder.sketched()
    }

    /// The same note at the same place counts once.
    pub(super) fn add(&mut self, path: &str, note: Note) {
        let path = path.replace("[0]", "[]");
        let notes = match self.places.iter().position(|(known, _)| *known == path) {
            Some(at) => &mut self.places[at].1,
            None => &mut self.places.push_mut((path, Vec::new())).1,
        };
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// All places.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|(path, _)| path.as_str())
    }

    /// What is noted at a place.
    pub fn notes(&self, path: &str) -> &[Note] {
        let found = self.places.iter().find(|(known, _)| known == path);
        found.map_or(&[], |(_, notes)| notes)
    }

    /// Whether a place takes things of different form, such as a text or a map, so that only its
    /// decoder can judge what is there.
    pub fn is_open(&self, path: &str) -> bool {
        let has = |of: fn(&Note) -> bool| usize::from(self.notes(path).iter().any(of));
        let maps =
            has(|note| matches!(note, Note::Map | Note::Labels | Note::Texts | Note::TextLists));
        let texts = has(|note| matches!(note, Note::Text(_) | Note::Words(_)));
        maps + has(|note| *note == Note::List) + texts > 1
    }

    /// The names of the fields right below a place.
    pub fn fields(&self, path: &str) -> impl Iterator<Item = &str> {
        let below = self.places().filter_map(move |place| {
            let rest = place.strip_prefix(path)?;
            if path.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
        });
        below.filter(|rest| !rest.is_empty() && !rest.contains(['.', '[']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources;

    #[test]
    fn a_decoder_tells_its_fields_words_and_bounds() {
        let sketch = resources::sketch("Workload").expect("a kind of this version");
        let fields: Vec<&str> = sketch.fields("").collect();
        assert_eq!(fields, ["address", "serviceAccount", "zone", "weight", "ports"]);
        assert!(sketch.notes("address").contains(&Note::Required));
        assert_eq!(sketch.notes("weight"), [Note::Optional, Note::Integer(1, 1000)]);
        assert_eq!(sketch.notes("ports"), [Note::Optional, Note::List]);
        let ports: Vec<&str> = sketch.fields("ports[]").collect();
        assert_eq!(ports, ["name", "port", "meshPort", "protocol"]);
        let words = ["auto", "http", "http2", "grpc", "tcp"].map(str::to_owned).to_vec();
        assert!(sketch.notes("ports[].protocol").contains(&Note::Words(words)));
    }

    #[test]
    fn each_form_is_noted() {
        let sketch = resources::sketch("TrafficPolicy").expect("a kind of this version");
        let has = |path: &str, is: fn(&Note) -> bool| {
            assert!(sketch.notes(path).iter().any(is), "{path}: {:?}", sketch.notes(path));
        };
        for path in ["tls", "retry.methods", "hedge.after", "retry.statusCodes[]"] {
            has(path, |note| matches!(note, Note::Text(_) | Note::Words(_)));
        }
        has("fault.match.headers", |note| *note == Note::Texts);
        has("fault.match.headers", |note| *note == Note::List);
        has("tls", |note| *note == Note::Map);
        has("retry.methods", |note| *note == Note::List);
        has("fault.abort.grpcStatus", |note| *note == Note::Integer(1, 16));
        has("retry.statusCodes[]", |note| *note == Note::Integer(200, 599));
        let limits = resources::sketch("RateLimitPolicy").expect("a kind of this version");
        assert!(limits.notes("concurrency.limit").contains(&Note::Integer(1, 100_000)));
    }
}
