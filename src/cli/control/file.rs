//! The file of contexts: control planes by name, and which of them is in use.
//!
//! People may write it themselves, so it is read like any other input, with every fault at its
//! line. It names tokens' files but holds no token; all the same it is its owner's alone, and
//! replaced as a whole.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::super::output::{Format, render};
use super::error::Error;
use super::place::{Field, Place, ROWS, Said};
use crate::resources::decode::{Decoder, Fields, distinct, list};
use crate::resources::scalar::text;
use crate::resources::{self, Node, Origin, yaml};

/// Everything in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    /// The one that is used when none is named.
    pub(super) current: Option<String>,
    pub(super) entries: Vec<Entry>,
}

/// A control plane, by name.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) place: Place,
}

impl Book {
    /// An absent file is an empty one.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub(super) fn read(path: &Path) -> Result<Book, Error> {
        if let Err(error) = fs::metadata(path)
            && error.kind() == ErrorKind::NotFound
        {
            return Ok(Book::default());
        }
        let faults = |faults: Vec<resources::Fault>| {
            Error::Faults(faults.iter().map(ToString::to_string).collect())
        };
        let text = resources::text(path).map_err(|fault| faults(vec![fault]))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Book::parse(&text, &Origin::path(path), folder).map_err(faults)
    }

    fn parse(text: &str, at: &Origin, folder: &Path) -> Result<Book, Vec<resources::Fault>> {
        let mut decoder = Decoder::new();
        let documents = yaml::parse(text, at)?;
        if let Some(second) = documents.get(1) {
            decoder.fault(&second.at, "contexts are one document; remove the `---`");
        }
        let root = documents.into_iter().next().unwrap_or(Node::null(at.clone()));
        match book(&root, folder, &mut decoder) {
            Some(book) if decoder.is_clean() => Ok(book),
            _ => Err(decoder.finish()),
        }
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When it can't be written; then the old one is untouched.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let unwritable = |source| Error::Unwritable { path: path.display().to_string(), source };
        replace(path, &render(&self.json(), None, Format::Yaml)).map_err(unwritable)
    }

    pub(super) fn named(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// The names there are, as the end of a sentence.
    pub(super) fn known(&self) -> String {
        let names: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
        match names.as_slice() {
            [] => "make it with `outrigger context set`".into(),
            _ => format!("there are {}", names.join(", ")),
        }
    }

    fn json(&self) -> Value {
        let entries: Vec<Value> = self.entries.iter().map(Entry::json).collect();
        match &self.current {
            Some(current) => json!({"current": current, "contexts": entries}),
            None => json!({"contexts": entries}),
        }
    }
}

impl Entry {
    pub(super) fn json(&self) -> Value {
        let name = std::iter::once(("name", self.name.as_str()));
        let fields = name.chain(self.place.texts());
        fields.map(|(name, text)| (name.to_owned(), json!(text))).collect::<Map<_, _>>().into()
    }
}

fn book(root: &Node, folder: &Path, decoder: &mut Decoder) -> Option<Book> {
    let mut fields = Fields::open(root, decoder)?;
    let current = fields.optional("current", text);
    let entries = fields.optional("contexts", |node, decoder| {
        let entries = list(node, decoder, |node, decoder| entry(node, folder, decoder))?;
        distinct(node, decoder, &entries, |entry| Some(("name", entry.name.clone())));
        Some(entries)
    });
    let book = Book { current, entries: entries.unwrap_or_default() };
    if let Some(name) = &book.current
        && book.named(name).is_none()
    {
        fields.fault("current", format!("there is no context {name:?}; {}", book.known()));
    }
    fields.close();
    Some(book)
}

fn entry(node: &Node, folder: &Path, decoder: &mut Decoder) -> Option<Entry> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.required("name", text);
    let mut place = Place::default();
    for row in &ROWS {
        let said = fields.optional(row.name, |node, decoder| {
            let text = text(node, decoder)?;
            let text = if row.is_path { beside(folder, &text) } else { text };
            Some(Said { text, at: node.at.clone() })
        });
        place.say(row.field, said);
    }
    let said = |field| place.said(field).is_some();
    if said(Field::Certificate) != said(Field::Key) {
        fields.fault("certificate", "a certificate and its key go together; give both or neither");
    }
    if said(Field::Certificate) && said(Field::TokenFile) {
        fields.fault("tokenFile", "a certificate takes the token's place; remove one of them");
    }
    fields.close();
    Some(Entry { name: name?, place })
}

/// Paths are relative to the file, not to where one stands.
fn beside(folder: &Path, text: &str) -> String {
    folder.join(text).to_string_lossy().into_owned()
}

/// The file's path: `OUTRIGGER_CONTEXT_FILE`, or `outrigger/context.yaml` where people keep such.
///
/// # Errors
/// When no variable says where that is.
pub(super) fn path(variable: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, Error> {
    let said = |name: &str| variable(name).filter(|text| !text.is_empty()).map(PathBuf::from);
    let config = || said("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let config = || config().or_else(|| Some(said("HOME")?.join(".config")));
    said("OUTRIGGER_CONTEXT_FILE")
        .or_else(|| Some(config()?.join("outrigger/context.yaml")))
        .ok_or(Error::Homeless)
}

/// The context that is named on the command line or by `OUTRIGGER_CONTEXT`, else the file's current
/// one, if it has any.
///
/// # Errors
/// When the one that is named is not there, or the file is faulty.
pub(super) fn entry_in_use(
    named: Option<Said>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Entry>, Error> {
    const VARIABLE: &str = "OUTRIGGER_CONTEXT";
    let named = named.or_else(|| {
        let text = variable(VARIABLE).filter(|name| !name.is_empty())?;
        Some(Said { text, at: Origin::Environment(VARIABLE.into()) })
    });
    let path = match path(variable) {
        Err(Error::Homeless) if named.is_none() => return Ok(None),
        path => path?,
    };
    let book = Book::read(&path)?;
    let Some(Said { text: name, at }) = named else {
        return Ok(book.current.as_deref().and_then(|name| book.named(name)).cloned());
    };
    book.named(&name).cloned().map(Some).ok_or_else(|| Error::NoContext {
        known: book.known(),
        file: path.display().to_string(),
        name,
        at,
    })
}

/// Written beside it, then put in its place, so that a reader sees the old one or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_owned();
    name.push(format!(".{}", uuid::Uuid::now_v7().simple()));
    let beside = path.with_file_name(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // Nobody misses it; what failed is said.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
current: local
contexts:
  - name: local
    controlPlane: 127.0.0.1:15010
    trustAnchors: ca.pem
    tokenFile: /t/operator.token
  - {name: far, controlPlane: 'mesh.example:15010', certificate: /c, key: /k, trustDomain: m}
";

    fn parse(text: &str) -> Result<Book, String> {
        let at = Origin::file("context.yaml");
        Book::parse(text, &at, Path::new("/home/u"))
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn what_is_written_reads_back_to_the_same() {
        let book = parse(TEXT).expect("sound");
        let local = book.named("local").expect("it is there");
        let anchors = local.place.said(Field::TrustAnchors).expect("said");
        assert_eq!(anchors.text, "/home/u/ca.pem");
        assert_eq!(anchors.at.to_string(), "context.yaml:6");
        let folder = super::super::tests::Folder::new();
        let path = folder.path("deep/context.yaml");
        for _ in 0..2 {
            book.write(&path).expect("it can be written");
            let again = Book::read(&path).expect("sound");
            assert_eq!(again.json(), book.json());
        }
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path("deep")).expect("a folder").count(), 1);
    }

    #[test]
    fn faults_name_their_line() {
        let rows = [
            (
                "contexts: [{name: a, controlplane: x}]",
                "context.yaml:1: contexts[0]: unknown field `controlplane`; did you mean `controlPlane`?",
            ),
            (
                "contexts:\n  - {controlPlane: x}",
                "context.yaml:2: contexts[0]: missing field `name`",
            ),
            (
                "contexts:\n  - {name: a}\n  - {name: a}",
                "context.yaml:3: contexts[1].name: a is taken by item 0",
            ),
            (
                "current: b\ncontexts: [{name: a}]",
                "context.yaml:1: current: there is no context \"b\"; there are a",
            ),
            (
                "contexts: [{name: a, key: k}]",
                "context.yaml:1: contexts[0].certificate: a certificate and its key go together; give both or neither",
            ),
            (
                "contexts: [{name: a, key: k, certificate: c, tokenFile: t}]",
                "context.yaml:1: contexts[0].tokenFile: a certificate takes the token's place; remove one of them",
            ),
            (
                "contexts: [{name: 1}]",
                "context.yaml:1: contexts[0].name: expected text, found 1; put it in quotes",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text).map(|_| ()), Err(expected.to_owned()), "{text}");
        }
        assert!(parse("# nothing yet\n").expect("nothing is said").entries.is_empty());
    }

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn the_file_is_where_people_keep_such() {
        let at = |pairs: Pairs<'_>| {
            let find = |name: &str| {
                let pair = pairs.iter().find(|(known, _)| *known == name);
                pair.map(|(_, text)| (*text).to_owned())
            };
            path(&find).ok().map(|path| path.display().to_string())
        };
        let (home, xdg) = (("HOME", "/home/u"), ("XDG_CONFIG_HOME", "/x"));
        let file = ("OUTRIGGER_CONTEXT_FILE", "here.yaml");
        let rows: &[(Pairs<'_>, Option<&str>)] = &[
            (&[home], Some("/home/u/.config/outrigger/context.yaml")),
            (&[home, xdg], Some("/x/outrigger/context.yaml")),
            (&[home, xdg, file], Some("here.yaml")),
            (
                &[home, ("XDG_CONFIG_HOME", "relative")],
                Some("/home/u/.config/outrigger/context.yaml"),
            ),
            (&[("HOME", "")], None),
        ];
        for (pairs, expected) in rows {
            assert_eq!(at(pairs).as_deref(), *expected, "{pairs:?}");
        }
    }
}
