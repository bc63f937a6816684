//! The few files that the control plane keeps beside its store: keys and certificates.
//!
//! Invariant: under its name a file is whole or not there, whenever the machine stops, and what was
//! written stays written. A private file that others could read is not used: it may be known
//! already. One process at a time works in a folder; the store's lock sees to that. Callers: `ca`
//! and `tokens`. Blocking, for the start and the hourly renewal.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(
        "{} can't be read: give it to the user that the control plane runs as",
        .path.display()
    )]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{} can't be written: make room on the disk, and let the user that the control plane runs \
         as write in its folder",
        .path.display()
    )]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{path} holds a private key, and its mode {mode:03o} allows more than its owner's reading \
         and writing: run `chmod 600 {path}`, and if anybody else may have read it, replace the key",
        path = .path.display()
    )]
    KeyExposed { path: PathBuf, mode: u32 },
    #[error(
        "others may write in {path} (mode {mode:03o}), where private keys are kept: run \
         `chmod 700 {path}`, and look whether its files are still yours",
        path = .path.display()
    )]
    FolderExposed { path: PathBuf, mode: u32 },
}

/// Makes a folder, open to its owner only, if there is none.
///
/// # Errors
/// [`FileError::Write`].
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    let named = |path: &&Path| !path.as_os_str().is_empty();
    let missing: Vec<&Path> = path.ancestors().filter(named).take_while(|p| !p.is_dir()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    missing.into_iter().try_for_each(|made| sync(folder_of(made))).map_err(failed)
}

/// As [`make_folder`], for a folder that is ours alone.
///
/// # Errors
/// [`FileError::Write`], or [`FileError::FolderExposed`] for one in which others may write.
pub fn open_folder(path: &Path) -> Result<(), FileError> {
    make_folder(path)?;
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(failed)?.mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(FileError::FolderExposed { path: path.to_owned(), mode });
    }
    Ok(())
}

/// A private file's bytes; `None` when there is no such file.
///
/// # Errors
/// [`FileError::Read`], or [`FileError::KeyExposed`] for one with a mode wider than 0600.
pub fn read_private(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    read(path, |file| {
        let mode = file.metadata()?.mode() & 0o777;
        Ok((mode & !0o600 != 0).then(|| FileError::KeyExposed { path: path.to_owned(), mode }))
    })
}

/// A file's bytes; `None` when there is no such file.
///
/// # Errors
/// [`FileError::Read`].
pub fn read_public(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    read(path, |_| Ok(None))
}

/// Puts a file with mode 0600 in place of the one that is there, if any.
///
/// # Errors
/// [`FileError::Write`]: what was there is still there, whole.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, 0o600)
}

/// Puts a file with mode 0644 in place of the one that is there, if any.
///
/// # Errors
/// As [`write_private`].
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    write(path, bytes, 0o644)
}

/// Takes a file away, for good; one that is not there is no error.
///
/// # Errors
/// [`FileError::Write`]: it is still there.
pub fn remove(path: &Path) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    match fs::remove_file(path) {
        Ok(()) => sync(folder_of(path)).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Judges the open file rather than its name, under which another could appear in between.
fn read(
    path: &Path,
    judge: impl FnOnce(&File) -> io::Result<Option<FileError>>,
) -> Result<Option<Vec<u8>>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if let Some(refusal) = judge(&file).map_err(failed)? {
        return Err(refusal);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    replace(path, bytes, mode).map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// What a start that was killed left under the temporary name is thrown away, not written into: its
/// mode or owner may be wrong.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let temporary = folder_of(path).join(format!(".{}.new", name.to_string_lossy()));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync(folder_of(path))
}

/// Makes a folder's names last.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
pub mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder that goes away with the test.
    pub struct Folder(pub PathBuf);

    impl Folder {
        pub fn new(name: &str) -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("outrigger-{name}-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            open_folder(&path).expect("a temporary folder");
            Self(path)
        }

        pub fn mode(&self, name: &str) -> u32 {
            fs::metadata(self.0.join(name)).expect("it is there").mode() & 0o777
        }

        pub fn chmod(&self, name: &str, mode: u32) {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(self.0.join(name), mode).expect("it is ours");
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else_stays() {
        let folder = Folder::new("files");
        let path = folder.0.join("a.key");
        assert_eq!(read_private(&path).expect("no fault"), None);
        // What a killed start left: half a file, and readable by all.
        fs::write(folder.0.join(".a.key.new"), "ha").expect("written");
        folder.chmod(".a.key.new", 0o644);
        for text in ["first", "second"] {
            write_private(&path, text.as_bytes()).expect("written");
            assert_eq!(read_private(&path).expect("read").as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(folder.mode("a.key"), 0o600);
        assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 1);
    }

    #[test]
    fn a_private_file_is_read_only_when_it_is_private() {
        let folder = Folder::new("files");
        let path = folder.0.join("a.key");
        write_private(&path, b"secret").expect("written");
        for (mode, taken) in
            [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o700, false)]
        {
            folder.chmod("a.key", mode);
            match read_private(&path) {
                Ok(bytes) => assert!(taken && bytes.is_some(), "{mode:o}"),
                Err(error) => {
                    assert!(!taken, "{mode:o}: {error}");
                    let cure = format!("run `chmod 600 {}`", path.display());
                    assert!(error.to_string().contains(&cure), "{error}");
                }
            }
            assert!(read_public(&path).expect("read").is_some());
        }
    }

    #[test]
    fn a_folder_where_others_write_is_refused() {
        let folder = Folder::new("files");
        let inner = folder.0.join("data/ca");
        open_folder(&inner).expect("made");
        assert_eq!((folder.mode("data"), folder.mode("data/ca")), (0o700, 0o700));
        folder.chmod("data/ca", 0o770);
        make_folder(&inner).expect("it is there");
        let refused = open_folder(&inner).expect_err("others may write");
        assert!(refused.to_string().contains("(mode 770)"), "{refused}");
        folder.chmod("data/ca", 0o755);
        open_folder(&inner).expect("others may only look");
    }

    #[test]
    fn faults_name_the_file() {
        let folder = Folder::new("files");
        fs::create_dir(folder.0.join("a.key")).expect("made");
        let path = folder.0.join("a.key");
        folder.chmod("a.key", 0o600);
        assert!(matches!(read_private(&path), Err(FileError::Read { path: p, .. }) if p == path));
        fs::create_dir(path.join("b")).expect("so that it can't be replaced");
        let failed = write_private(&path, b"x");
        assert!(matches!(failed, Err(FileError::Write { path: p, .. }) if p == path));
    }
}
