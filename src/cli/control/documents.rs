//! Files, folders and standard input as documents that the control plane reads. They go there as
//! they are: it alone judges them, and its faults name file and line as if they were found here.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::Error;
use crate::resources::{Fault, Origin, text_from, texts};

/// What faults call it.
const STANDARD_INPUT: &str = "standard input";

/// A text and what names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) source: String,
    pub(super) text: String,
}

/// The documents of all paths; `-` is `input`, which comes last.
///
/// # Errors
/// Every file that can't be read, or that there is none.
pub(super) fn read(paths: &[PathBuf], input: impl Read) -> Result<Vec<Document>, Error> {
    let is_input = |path: &PathBuf| path == Path::new("-");
    let files: Vec<PathBuf> = paths.iter().filter(|path| !is_input(path)).cloned().collect();
    let source = Origin::file(STANDARD_INPUT);
    let input = paths.iter().any(is_input).then(|| text_from(input, &source));
    let found = texts(&files).chain(input.map(|text| text.map(|text| (source, text))));
    let (mut documents, mut faults) = (Vec::new(), Vec::new());
    for each in found {
        match each {
            Ok((source, text)) => documents.push(Document { source: source.to_string(), text }),
            Err(fault) => faults.push(Fault::to_string(&fault)),
        }
    }
    match (faults.is_empty(), documents.is_empty()) {
        (false, _) => Err(Error::Faults(faults)),
        (true, true) => Err(Error::NoDocuments),
        (true, false) => Ok(documents),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn folders_and_standard_input_are_read_once() {
        let folder = super::super::tests::Folder::new();
        for (name, text) in [("b.yaml", "b"), ("a.json", "a"), (".c.yaml", "c"), ("d.txt", "d")] {
            fs::write(folder.path(name), text).expect("written");
        }
        let paths = [PathBuf::from("-"), folder.path(""), folder.path("b.yaml"), "-".into()];
        let documents = read(&paths, &b"in"[..]).expect("all can be read");
        let texts: Vec<&str> = documents.iter().map(|document| document.text.as_str()).collect();
        assert_eq!(texts, ["a", "b", "in"]);
        assert!(documents[0].source.ends_with("a.json"), "{documents:?}");
        assert_eq!(documents[2].source, STANDARD_INPUT);
    }

    #[test]
    fn all_that_can_not_be_read_is_said() {
        let folder = super::super::tests::Folder::new();
        let none = read(&[folder.path("")], &b""[..]);
        assert!(matches!(none, Err(Error::NoDocuments)), "{none:?}");
        fs::write(folder.path("latin.yaml"), [0xe4]).expect("written");
        let paths = [folder.path("absent"), folder.path("latin.yaml"), "-".into()];
        let Err(Error::Faults(faults)) = read(&paths, &[0xff][..]) else { panic!("not faults") };
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[2].starts_with("standard input: is not UTF-8"), "{faults:?}");
    }
}
