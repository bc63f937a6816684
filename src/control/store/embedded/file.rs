//! The store's file: made, locked, checked and opened.
//!
//! Invariants: a file that is there is never made anew, whatever is wrong with it; and it stays
//! locked from the first look to the end, also while the database in it is closed and opened again
//! after a failure, so that nobody else can have written between. The writer opens it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, ReadableDatabase, StorageBackend, TableDefinition};

use super::super::Shelf;

const NAME: &str = "store.redb";
/// Bears this name until it is whole, so that a crash while it is made leaves nothing half-made.
const NEW_NAME: &str = "store.redb.new";
/// What this version writes, and the newest that it reads.
const FORMAT: u64 = 1;
/// All that is held is in the catalog's memory; this serves preconditions only. Arbitrary.
const CACHE_BYTES: usize = 8 << 20;

/// By name: the revision of the commit that wrote it, and the value.
pub(super) type ShelfTable = TableDefinition<'static, &'static str, (u64, &'static [u8])>;
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
pub(super) const REVISION: &str = "revision";
const FORMAT_KEY: &str = "format";

/// The table of a shelf.
pub(super) fn table(shelf: Shelf) -> ShelfTable {
    TableDefinition::new(shelf.as_str())
}

/// Why the store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two of them would give out rights twice.
    #[error(
        "another control plane runs on this folder: {} is locked; stop it, or give this one a \
         folder of its own", .0.display()
    )]
    InUse(PathBuf),
    #[error(
        "{} has format {found} and this version knows formats up to {FORMAT}: a newer version \
         wrote it; run that one, or restore a backup from before the upgrade", .path.display()
    )]
    Newer { path: PathBuf, found: u64 },
    #[error(
        "{} is damaged: restore it from a backup, or move it away to begin with an empty store",
        .path.display()
    )]
    Damaged { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(
        "can't use {}: check that its folder exists, has room and is writable for this user",
        .path.display()
    )]
    Io { path: PathBuf, source: io::Error },
    #[error("can't start the store's thread")]
    Thread(#[source] io::Error),
}

/// The file, locked.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    pub(super) disk: Disk,
}

impl Place {
    /// # Errors
    /// When it is not there and can't be made, or somebody else holds it.
    pub(super) fn open(data: &Path) -> Result<Place, OpenError> {
        let path = data.join(NAME);
        let failed = |source| OpenError::Io { path: path.clone(), source };
        loop {
            match OpenOptions::new().read(true).write(true).open(&path) {
                Ok(file) => return Place::lock(path, file),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                Err(_) => {}
            }
            let new = data.join(NEW_NAME);
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600);
            let place = Place::lock(path.clone(), options.open(&new).map_err(failed)?)?;
            // Somebody else may have been here between the two looks.
            if !path.try_exists().map_err(failed)? {
                place.make()?;
                std::fs::rename(&new, &path).map_err(failed)?;
                File::open(data).and_then(|folder| folder.sync_all()).map_err(failed)?;
                return Ok(place);
            }
        }
    }

    fn lock(path: PathBuf, file: File) -> Result<Place, OpenError> {
        match file.try_lock() {
            Ok(()) => Ok(Place { path, disk: Disk::new(file) }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path)),
            Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
        }
    }

    fn make(&self) -> Result<(), OpenError> {
        let emptied = self.disk.file.set_len(0);
        emptied.map_err(|source| OpenError::Io { path: self.path.clone(), source })?;
        let database = self.connect()?;
        self.checked(|| {
            let mut transaction = database.begin_write()?;
            transaction.set_two_phase_commit(true);
            for shelf in Shelf::ALL {
                transaction.open_table(table(shelf))?;
            }
            {
                let mut meta = transaction.open_table(META)?;
                meta.insert(FORMAT_KEY, FORMAT)?;
                meta.insert(REVISION, 0)?;
            }
            Ok(transaction.commit()?)
        })
    }

    /// The database in the file, every page of it checked, and the revision that it is at.
    ///
    /// # Errors
    /// When the file is damaged, newer than this version, or can't be read.
    pub(super) fn database(&self) -> Result<(Database, u64), OpenError> {
        // The database would take an empty file for a new one.
        if self.disk.file.metadata().is_ok_and(|of| of.len() == 0) {
            return Err(self.damaged("it is empty"));
        }
        let database = self.connect()?;
        let meta = self.checked(|| {
            let meta = database.begin_read()?.open_table(META)?;
            let number = |key| Ok::<_, redb::Error>(meta.get(key)?.map(|found| found.value()));
            Ok((number(FORMAT_KEY)?, number(REVISION)?))
        })?;
        match meta {
            (Some(FORMAT), Some(revision)) => Ok((database, revision)),
            (Some(found), _) if found > FORMAT => {
                Err(OpenError::Newer { path: self.path.clone(), found })
            }
            _ => Err(self.damaged("it does not say its format and revision")),
        }
    }

    fn connect(&self) -> Result<Database, OpenError> {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        self.checked(|| Ok(builder.create_with_backend(self.disk.clone())?))
    }

    /// Damage may surface as an error or, in spite of the check, as a panic.
    fn checked<T>(&self, look: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, OpenError> {
        match catch_unwind(AssertUnwindSafe(look)) {
            Ok(looked) => looked.map_err(|error| self.refused(error)),
            Err(_) => Err(self.damaged("reading it failed in an unforeseen way")),
        }
    }

    fn refused(&self, error: redb::Error) -> OpenError {
        let path = self.path.clone();
        let damage = |error: &io::Error| {
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
        };
        match error {
            redb::Error::Io(source) if !damage(&source) => OpenError::Io { path, source },
            redb::Error::PreviousIo => {
                OpenError::Io { path, source: io::Error::other("an earlier operation failed") }
            }
            error => OpenError::Damaged { path, source: Box::new(error) },
        }
    }

    fn damaged(&self, cause: &'static str) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), source: cause.into() }
    }
}

/// Unlocks in so many words: a process that is just being started has the file open too, until it
/// runs its own program.
impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.disk.file.unlock();
    }
}

/// The open file as the database sees it: closing the database leaves it open, and locked.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    file: Arc<File>,
    #[cfg(test)]
    pub(super) trouble: Arc<super::tests::Trouble>,
}

impl Disk {
    fn new(file: File) -> Self {
        Self {
            file: Arc::new(file),
            #[cfg(test)]
            trouble: Arc::default(),
        }
    }

    #[cfg(test)]
    fn allowed(&self, operation: &str) -> io::Result<()> {
        self.trouble.strike(operation)
    }

    #[cfg(not(test))]
    fn allowed(&self, _operation: &str) -> io::Result<()> {
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.allowed("set_len")?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.allowed("sync_data")?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.allowed("write")?;
        self.file.write_all_at(data, offset)
    }
}
