//! A file that is there whole or not at all.
//!
//! It is written beside its place and moved there when it is on the disk. Invariant: whoever is
//! stopped before that, by whatever, leaves what was in that place; but for `kill -9`, nothing else.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file that is being written. Dropped before [`PartialFile::keep`], it is removed.
#[derive(Debug)]
pub struct PartialFile {
    /// Where it is being written.
    partial: PathBuf,
    /// Where it will be.
    place: PathBuf,
    is_kept: bool,
}

impl PartialFile {
    /// Begins one for this place. Only its owner may read it: values may be secret.
    pub fn create(place: &Path) -> io::Result<(PartialFile, File)> {
        // Where a link points to is what is replaced, not the link.
        let place = match place.canonicalize() {
            Ok(found) if !found.is_file() => {
                let why = "it is no regular file; without FILE it goes to standard output";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => place.to_owned(),
            Err(error) => return Err(error),
        };
        let Some(name) = place.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no name"));
        };
        let mut beside = name.to_owned();
        // In a container the next run has the same process id, and may find what was killed.
        beside.push(format!(".{:08x}.partial", fastrand::u32(..)));
        let partial = place.with_file_name(beside);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        Ok((PartialFile { partial, place, is_kept: false }, file))
    }

    /// Puts it into its place, when all that was written is on the disk.
    pub fn keep(mut self, file: &File) -> io::Result<()> {
        file.sync_all()?;
        fs::rename(&self.partial, &self.place)?;
        self.is_kept = true;
        let directory = self.place.parent().filter(|path| !path.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // It may be gone already, and nobody is left to be told.
            let _ = fs::remove_file(&self.partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("it is there");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_kept_replaces_what_was_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("dump");
        fs::write(&place, "before").expect("written");
        let (partial, mut file) = PartialFile::create(&place).expect("begun");
        file.write_all(b"after").expect("written");
        assert_eq!(fs::read(&place).expect("read"), b"before");
        partial.keep(&file).expect("kept");
        assert_eq!(fs::read(&place).expect("read"), b"after");
        assert_eq!(names(directory.path()), ["dump"]);
    }

    #[test]
    fn what_is_not_kept_leaves_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let (partial, mut file) =
            PartialFile::create(&directory.path().join("dump")).expect("begun");
        file.write_all(b"half").expect("written");
        assert_eq!(names(directory.path()).len(), 1);
        drop(partial);
        assert_eq!(names(directory.path()), [""; 0]);
    }

    #[test]
    fn what_a_run_left_that_was_killed_is_in_nobodys_way() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path().join("dump");
        let (killed, _) = PartialFile::create(&place).expect("begun");
        std::mem::forget(killed);
        let (partial, file) = PartialFile::create(&place).expect("begun again");
        partial.keep(&file).expect("kept");
        assert_eq!(names(directory.path()).len(), 2);
    }

    #[test]
    fn a_link_goes_on_pointing_and_a_directory_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        fs::write(&real, "before").expect("written");
        std::os::unix::fs::symlink(&real, &link).expect("linked");
        let (partial, file) = PartialFile::create(&link).expect("begun");
        partial.keep(&file).expect("kept");
        assert_eq!(fs::read_link(&link).expect("a link"), real);
        assert_eq!(fs::read(&real).expect("read"), b"");
        assert!(PartialFile::create(directory.path()).is_err());
        assert!(PartialFile::create(Path::new("/dev/null")).is_err());
    }
}
