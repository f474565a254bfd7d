//! The dump that is imported: a file, read from several places at once.
//!
//! What is no regular file, as a pipe, and what comes from a server, is put into a temporary one
//! that has no name, so that it is gone with the process, whatever ends that. Invariant: it is the
//! same open file that is checked and then read, whatever takes its name meanwhile.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::super::Node;
use super::super::dump::{DumpError, node_at};

/// How much is read ahead where all is read.
const BUFFER_BYTES: usize = 1 << 20;

/// An open dump. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::migrate) struct Spool(Arc<File>);

/// A reader with a place of its own.
struct Place {
    file: Arc<File>,
    offset: u64,
}

impl Spool {
    /// Opens a file, or what else is there to be read.
    pub(in crate::migrate) fn open(path: &Path) -> io::Result<Spool> {
        let mut file = File::open(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if kind.is_file() {
            return Ok(Spool(Arc::new(file)));
        }
        let mut spool = tempfile::tempfile()?;
        io::copy(&mut file, &mut spool)?;
        spool.flush()?;
        Ok(Spool::of(spool))
    }

    /// What was written to a file.
    pub(in crate::migrate) fn of(file: File) -> Spool {
        Spool(Arc::new(file))
    }

    /// Reads all of it from its beginning.
    pub(in crate::migrate) fn read(&self) -> impl BufRead + Send + 'static {
        let place = Place { file: Arc::clone(&self.0), offset: 0 };
        BufReader::with_capacity(BUFFER_BYTES, place)
    }

    /// The node whose line begins there.
    pub(in crate::migrate) fn node_at(&self, offset: u64) -> Result<Node, DumpError> {
        node_at(&mut Place { file: Arc::clone(&self.0), offset: 0 }, offset)
    }
}

impl Read for Place {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

impl Seek for Place {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(offset) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        self.offset = offset;
        Ok(offset)
    }
}
