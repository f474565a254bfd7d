//! The data directory: whose it is, who uses it, and what is in it.
//!
//! ```text
//! FORMAT   "etcdynamo embedded store, format 1"; written before anything else
//! LOCK     locked while a process has the store open
//! db/      the database; made as db.new and renamed, so that it is whole or not there
//! ```
//!
//! Invariant: nothing is written to a directory that is not ours.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::disk::Disk;

const FORMAT_FILE: &str = "FORMAT";
const FORMAT_FILE_NEW: &str = "FORMAT.new";
const LOCK_FILE: &str = "LOCK";
const DATABASE: &str = "db";
const DATABASE_NEW: &str = "db.new";
/// What may be in a directory without a FORMAT that is made ours: what a first start leaves if
/// it ends early, and what a file system keeps at its top.
const NOT_FOREIGN: [&str; 3] = [LOCK_FILE, FORMAT_FILE_NEW, "lost+found"];

const FORMAT_NAME: &str = "etcdynamo embedded store, format ";
const FORMAT_VERSION: &str = "1";

/// Why a data directory could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// It holds something else.
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// What is in it.
        found: String,
    },
    /// It was written in a format that this program does not know.
    UnknownFormat {
        /// The directory.
        dir: PathBuf,
        /// The content of the FORMAT file.
        found: String,
    },
    /// The operating system does not let us.
    Io {
        /// The directory.
        dir: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The database in it does not open.
    Database {
        /// The directory.
        dir: PathBuf,
        /// What went wrong.
        source: Box<fjall::Error>,
    },
    /// The database in it holds something that cannot be read.
    Corrupt {
        /// The directory.
        dir: PathBuf,
        /// The entry, and what is wrong with it.
        what: String,
    },
}

impl OpenError {
    pub(super) fn database(dir: &Path, source: fjall::Error) -> OpenError {
        OpenError::Database { dir: dir.to_owned(), source: Box::new(source) }
    }

    fn io(dir: &Path, source: io::Error) -> OpenError {
        OpenError::Io { dir: dir.to_owned(), source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse { dir } => write!(
                f,
                "the data directory {} is in use by another process; \
                 stop that one, or choose another directory",
                dir.display()
            ),
            OpenError::Foreign { dir, found } => write!(
                f,
                "the data directory {} is not empty and not ours (there is {found:?}); \
                 nothing was written to it; choose an empty directory",
                dir.display()
            ),
            OpenError::UnknownFormat { dir, found } => write!(
                f,
                "the data directory {} has a format this version does not know ({found:?}, known \
                 is {FORMAT_NAME}{FORMAT_VERSION}); nothing was written to it; use the version \
                 that wrote it, or choose another directory",
                dir.display()
            ),
            OpenError::Io { dir, source } => write!(
                f,
                "the data directory {} cannot be used: {source}; \
                 check that it is a directory, its permissions and the disk",
                dir.display()
            ),
            OpenError::Database { dir, source } => write!(
                f,
                "the database in the data directory {} does not open: {source}; \
                 check the disk, or restore the directory from a copy",
                dir.display()
            ),
            OpenError::Corrupt { dir, what } => write!(
                f,
                "the database in the data directory {} is damaged: {what}; \
                 restore the directory from a copy",
                dir.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { source, .. } => Some(source),
            OpenError::Database { source, .. } => Some(source),
            OpenError::InUse { .. }
            | OpenError::Foreign { .. }
            | OpenError::UnknownFormat { .. }
            | OpenError::Corrupt { .. } => None,
        }
    }
}

/// Opens the database in this directory; makes both where they are not there.
pub(super) fn open_disk(dir: &Path) -> Result<Disk, OpenError> {
    let io = |e| OpenError::io(dir, e);
    fs::create_dir_all(dir).map_err(io)?;
    // Once before the lock, which is a write, and once with it: another process may have been
    // about to make the directory its own.
    check_format(dir)?;
    let lock = lock(dir)?;
    if check_format(dir)? == Format::None {
        write_format(dir).map_err(io)?;
    }
    let path = dir.join(DATABASE);
    if !path.try_exists().map_err(io)? {
        let new = dir.join(DATABASE_NEW);
        if new.try_exists().map_err(io)? {
            fs::remove_dir_all(&new).map_err(io)?;
        }
        let lock = lock.try_clone().map_err(io)?;
        drop(Disk::open(&new, lock).map_err(|e| OpenError::database(dir, e))?);
        fs::rename(&new, &path).map_err(io)?;
        sync_dir(dir).map_err(io)?;
    }
    Disk::open(&path, lock).map_err(|e| OpenError::database(dir, e))
}

#[derive(PartialEq, Eq)]
enum Format {
    Known,
    None,
}

/// Whether the directory is ours or empty; anything else is an error.
fn check_format(dir: &Path) -> Result<Format, OpenError> {
    let io = |e| OpenError::io(dir, e);
    match fs::read(dir.join(FORMAT_FILE)) {
        Ok(found) if found == format_line().as_bytes() => return Ok(Format::Known),
        Ok(found) => {
            let found = String::from_utf8_lossy(&found[..found.len().min(100)]).trim().to_owned();
            return Err(OpenError::UnknownFormat { dir: dir.to_owned(), found });
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io(e)),
    }
    for entry in fs::read_dir(dir).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if !NOT_FOREIGN.iter().any(|known| *known == name) {
            let found = name.to_string_lossy().into_owned();
            return Err(OpenError::Foreign { dir: dir.to_owned(), found });
        }
    }
    Ok(Format::None)
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(dir.join(LOCK_FILE));
    let file = file.map_err(|e| OpenError::io(dir, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned() }),
        Err(TryLockError::Error(e)) => Err(OpenError::io(dir, e)),
    }
}

fn write_format(dir: &Path) -> io::Result<()> {
    let new = dir.join(FORMAT_FILE_NEW);
    let mut file = File::create(&new)?;
    file.write_all(format_line().as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, dir.join(FORMAT_FILE))?;
    sync_dir(dir)
}

fn format_line() -> String {
    format!("{FORMAT_NAME}{FORMAT_VERSION}\n")
}

/// Makes the names in a directory last.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
