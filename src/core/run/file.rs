//! Files that are written whole or not at all: under a temporary name beside the right one, then renamed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::RunError;

/// Writes a file, over one that is there. Makes missing folders.
pub fn write(path: &Path, content: &[u8]) -> Result<(), RunError> {
    write_with(path, |out| out.write_all(content))
}

/// The same for content that is made as it is written.
pub fn write_with(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), RunError> {
    replace(path, |temporary, _| fill(File::create(temporary)?, content))
        .map_err(|source| RunError::Write { path: path.to_owned(), source })
}

fn fill(file: File, content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<File> {
    let mut out = BufWriter::with_capacity(1 << 16, file);
    content(&mut out)?;
    Ok(out.into_inner()?)
}

/// Adds a line at a file's end; what was there is there until the longer file takes its place. Programs that append to
/// one file at a time wait for each other, on file systems that can lock a folder.
pub fn append(
    path: &Path,
    line: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), RunError> {
    replace(path, |temporary, there| {
        let mut file = File::options().read(true).write(true).create(true).truncate(true).open(temporary)?;
        if there.try_exists()? {
            io::copy(&mut File::open(there)?, &mut file)?;
            file.set_permissions(fs::metadata(there)?.permissions())?;
        }
        if !ends_a_line(&mut file)? {
            file.write_all(b"\n")?;
        }
        fill(file, line)
    })
    .map_err(|source| RunError::Write { path: path.to_owned(), source })
}

/// Finds out, by writing an empty file of another name and removing it, whether a file could be written here; one that is
/// there must be readable, or nothing could be added to it. Makes missing folders.
pub fn probe(path: &Path) -> Result<(), RunError> {
    let attempt = || {
        let place = Place::of(path)?;
        if place.target.exists() {
            File::open(&place.target)?;
        }
        File::create(&place.temporary)?;
        fs::remove_file(&place.temporary)
    };
    attempt().map_err(|source| RunError::Write { path: path.to_owned(), source })
}

/// Where the content goes first, and where it ends up.
struct Place {
    folder: PathBuf,
    temporary: PathBuf,
    target: PathBuf,
}

impl Place {
    /// Of a path, whose folders it makes. A link stays one: what it points to is written.
    fn of(path: &Path) -> io::Result<Self> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if target.exists() && !target.is_file() {
            return Err(io::Error::other("that is there already, and is no file"));
        }
        let name = target.file_name().ok_or_else(|| io::Error::other("that is not a file name"))?;
        let folder = target.parent().filter(|folder| *folder != OsStr::new("")).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        Ok(Self { folder: folder.to_owned(), temporary, target })
    }
}

/// Lets `fill` write the temporary file (it is told the target's path too), then renames it.
fn replace(path: &Path, fill: impl FnOnce(&Path, &Path) -> io::Result<File>) -> io::Result<()> {
    let place = Place::of(path)?;
    let folder = File::open(&place.folder)?;
    // A file system without locks (some network ones) is no reason to lose a result.
    let _ = folder.lock();
    let written = fill(&place.temporary, &place.target)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&place.temporary, &place.target));
    if written.is_err() {
        // The write already failed: a leftover that cannot be removed adds nothing to tell.
        let _ = fs::remove_file(&place.temporary);
    }
    written
}

/// Whether a line can begin at the file's end, to which this moves.
fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn appending_never_loses_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/runs.jsonl");
        append(&path, |out| out.write_all(b"1")).unwrap();
        append(&path, |out| out.write_all(b"2")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2", "as vLLM does it");
        fs::write(&path, "1\n2\n").unwrap();
        append(&path, |out| out.write_all(b"3")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n3", "no empty line");
        assert_eq!(names(path.parent().unwrap()), ["runs.jsonl"], "a temporary file was left");
    }

    #[test]
    fn many_can_append_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        // The temporary name is the process's, so that threads stand in for processes only because of the lock.
        std::thread::scope(|scope| {
            for i in 0..8 {
                let path = &path;
                scope.spawn(move || append(path, |out| write!(out, "{i}")).unwrap());
            }
        });
        let mut lines: Vec<_> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        lines.sort_unstable();
        assert_eq!(lines.concat(), "01234567");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    }

    #[test]
    fn a_probe_tells_what_a_write_would() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::write(&taken, "").unwrap();
        probe(&taken).unwrap();
        probe(&folder.path().join("new/result.json")).unwrap();
        for impossible in ["taken/result.json", "new", ".."] {
            let error = probe(&folder.path().join(impossible)).unwrap_err().to_string();
            assert!(error.starts_with("cannot write ") && error.contains("--result-dir"), "{error}");
        }
        assert!(names(&folder.path().join("new")).is_empty(), "a probe leaves nothing behind");
    }
}
