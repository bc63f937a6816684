//! Resource files on disk: which there are, what they hold, and whether they
//! changed. Folders are read whole, in order of name, without what is hidden
//! (a mounted ConfigMap keeps its old versions in hidden folders). Called at
//! start, by `validate`, and every 2 s to notice changes.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::decode::Decoder;
use super::fault::Fault;
use super::kinds::{self, Resource};
use super::node::Origin;
use super::yaml::{self, MAX_BYTES};

/// Reads every resource of the files and folders given.
///
/// # Errors
/// Everything wrong with any of them, by file and line.
pub fn read(paths: &[PathBuf], default_namespace: &str) -> Result<Vec<Resource>, Vec<Fault>> {
    let mut decoder = Decoder::new();
    let mut resources = Vec::new();
    for found in texts(paths) {
        match found {
            Ok((source, text)) => {
                decode(&text, &source, default_namespace, &mut decoder, &mut resources);
            }
            Err(fault) => decoder.extend([fault]),
        }
    }
    conclude(resources, decoder)
}

/// The text of every file that [`read`] would read, with what names it, each read when it is asked
/// for; a fault stands for a file or folder that can't be.
pub fn texts(paths: &[PathBuf]) -> impl Iterator<Item = Result<(Origin, String), Fault>> {
    entries(paths).into_iter().map(|entry| match entry {
        Entry::File(path, _) => text(&path).map(|text| (Origin::path(&path), text)),
        Entry::Failed(path, error) => Err(unreadable(&Origin::path(&path), &error)),
    })
}

/// Reads every resource of a text, which `source` names.
///
/// # Errors
/// Everything wrong with it, in the order of lines.
pub fn parse_documents(
    text: &str,
    source: &Origin,
    default_namespace: &str,
) -> Result<Vec<Resource>, Vec<Fault>> {
    parse_all([(source, text)], default_namespace)
}

/// Reads every resource of several texts as one: no two of one name in all of them.
///
/// # Errors
/// Everything wrong with any of them, by source and line.
pub fn parse_all<'a>(
    texts: impl IntoIterator<Item = (&'a Origin, &'a str)>,
    default_namespace: &str,
) -> Result<Vec<Resource>, Vec<Fault>> {
    let mut decoder = Decoder::new();
    let mut resources = Vec::new();
    for (source, text) in texts {
        decode(text, source, default_namespace, &mut decoder, &mut resources);
    }
    conclude(resources, decoder)
}

/// A number that differs when any of the files does: cheap enough to ask every
/// 2 s. Take it before reading, so that a change in between is seen later.
/// Path, length, modification time and inode count, not content.
pub fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for entry in entries(paths) {
        match entry {
            Entry::File(path, metadata) => {
                path.hash(&mut hasher);
                let times = (metadata.mtime(), metadata.mtime_nsec());
                (metadata.dev(), metadata.ino(), metadata.len(), times).hash(&mut hasher);
            }
            Entry::Failed(path, error) => (path, error.kind()).hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// The text of a file, within the bounds of [`yaml::parse`].
///
/// # Errors
/// A fault that names the file: it can't be read, is too large or not UTF-8.
pub fn text(path: &Path) -> Result<String, Fault> {
    let source = Origin::path(path);
    let file = File::open(path).map_err(|error| unreadable(&source, &error))?;
    text_from(file, &source)
}

/// As [`text`], of anything that can be read.
///
/// # Errors
/// As [`text`]; the fault names `source`.
pub fn text_from(input: impl Read, source: &Origin) -> Result<String, Fault> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX) + 1;
    input.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(source, &error))?;
    if bytes.len() > MAX_BYTES {
        let message = format!("is larger than {} MiB; split it", MAX_BYTES >> 20);
        return Err(Fault::new(source.clone(), message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Fault::new(source.clone(), format!("is not UTF-8 text (at byte {offset})"))
    })
}

fn unreadable(source: &Origin, error: &io::Error) -> Fault {
    Fault::new(source.clone(), format!("can't be read: {error}"))
}

fn decode(
    text: &str,
    source: &Origin,
    default_namespace: &str,
    decoder: &mut Decoder,
    into: &mut Vec<Resource>,
) {
    let stream = yaml::read(text, source);
    decoder.extend(stream.faults);
    for node in &stream.documents {
        kinds::document(node, default_namespace, decoder, into);
    }
}

/// Two resources of one name are a fault of the later, which names the earlier.
fn conclude(resources: Vec<Resource>, mut decoder: Decoder) -> Result<Vec<Resource>, Vec<Fault>> {
    let mut first = HashMap::new();
    for resource in &resources {
        let metadata = resource.metadata();
        let id = (resource.kind(), &metadata.namespace, &metadata.name);
        if let Some(earlier) = first.insert(id, &metadata.at) {
            let (kind, namespace, name) = id;
            let message = format!("{kind} {name} of namespace {namespace} is also at {earlier}");
            let path = "metadata.name".into();
            decoder.extend([Fault { at: metadata.at.clone(), path, message }]);
        }
    }
    if decoder.is_clean() { Ok(resources) } else { Err(decoder.finish()) }
}

enum Entry {
    File(PathBuf, Metadata),
    Failed(PathBuf, io::Error),
}

/// Each file once, whichever way it is reached.
fn entries(paths: &[PathBuf]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for path in paths {
        visit(path, true, &mut seen, &mut found);
    }
    found
}

/// `named`: given by the user, so taken whatever its extension. Symbolic links
/// are followed (ConfigMaps consist of them); `seen` ends their loops.
fn visit(path: &Path, named: bool, seen: &mut HashSet<(u64, u64)>, found: &mut Vec<Entry>) {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return found.push(Entry::Failed(path.to_owned(), error)),
    };
    let wanted = metadata.is_dir() || named || (metadata.is_file() && has_extension(path));
    if !wanted || !seen.insert((metadata.dev(), metadata.ino())) {
        return;
    }
    if !metadata.is_dir() {
        return found.push(Entry::File(path.to_owned(), metadata));
    }
    let children = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    match children {
        Err(error) => found.push(Entry::Failed(path.to_owned(), error)),
        Ok(mut children) => {
            children.sort_by_key(fs::DirEntry::file_name);
            let shown =
                |child: &fs::DirEntry| !child.file_name().as_encoded_bytes().starts_with(b".");
            children.iter().filter(|c| shown(c)).for_each(|c| visit(&c.path(), false, seen, found));
        }
    }
}

fn has_extension(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
}
