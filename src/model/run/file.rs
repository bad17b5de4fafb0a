//! Files that are written completely or not at all: under a temporary name in the same folder, then renamed.
//!
//! A temporary file is new, private until it is complete, and follows no link. The writer holds a lock on the folder,
//! so that existing temporary files of the same name are those of programs that were killed: they are removed.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use uuid::Uuid;

use super::RunError;

/// How long a program waits for another that writes into the same folder, and after what time it reports the wait.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const LOCK_NOTICE_DELAY: Duration = Duration::from_secs(1);

/// How long a program waits that replaces a file: it does not need the existing content.
const REPLACE_LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// The time between two attempts to lock.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The hook that [`set_wait_hook`] sets.
static WAIT_HOOK: OnceLock<fn(&Path)> = OnceLock::new();

/// Sets a hook for waits: it is called with the folder that another program has locked, after a wait of one second.
pub(crate) fn set_wait_hook(tell: fn(&Path)) {
    // The hook can be set once per process.
    let _ = WAIT_HOOK.set(tell);
}

/// Writes a file and replaces an existing one. Creates missing folders.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), RunError> {
    write_with(path, |out| out.write_all(content))
}

/// Writes a file with content that is generated while it is written, and replaces an existing file.
pub(crate) fn write_with(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), RunError> {
    replace(path, REPLACE_LOCK_TIMEOUT, |file, _| write_content(file, content))
        .map_err(|source| RunError::Write { path: path.to_owned(), source })
}

fn write_content(
    file: File,
    content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<File> {
    let mut out = BufWriter::with_capacity(1 << 16, file);
    content(&mut out)?;
    Ok(out.into_inner()?)
}

/// Appends a line to a file; the old file stays in place until the longer one replaces it. Programs that append to one
/// file at a time wait for each other, on file systems that can lock a folder.
///
/// # Errors
///
/// The file cannot be written, or another program does not release the folder.
pub(crate) fn append(
    path: &Path,
    line: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), RunError> {
    replace(path, LOCK_TIMEOUT, |mut file, there| {
        if there.try_exists()? {
            io::copy(&mut File::open(there)?, &mut file)?;
        }
        if !is_at_line_start(&mut file)? {
            file.write_all(b"\n")?;
        }
        write_content(file, |out| {
            line(out)?;
            out.write_all(b"\n")
        })
    })
    .map_err(|source| RunError::Write { path: path.to_owned(), source })
}

/// Checks whether a file could be written here, by creating one without a name, so that a program that is killed leaves
/// nothing. An existing file must be readable, or nothing could be appended to it. Creates missing folders.
pub(crate) fn check_writable(path: &Path) -> Result<(), RunError> {
    let attempt = || {
        let place = FileTarget::from_path(path)?;
        if place.target.exists() {
            File::open(&place.target)?;
        }
        // The name can be too long for the file system.
        place.temporary().try_exists()?;
        tempfile::tempfile_in(&place.folder).map(drop)
    };
    attempt().map_err(|source| RunError::Write { path: path.to_owned(), source })
}

/// The final location of the content.
struct FileTarget {
    folder: PathBuf,
    name: String,
    target: PathBuf,
}

impl FileTarget {
    /// Resolves a path and creates its folders. A link is kept: the file that it points to is written.
    fn from_path(path: &Path) -> io::Result<Self> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if target.is_dir() {
            return Err(io::Error::other("it is a folder"));
        }
        if target.exists() && !target.is_file() {
            return Err(io::Error::other("it exists and is not a file"));
        }
        let name = target.file_name().ok_or_else(|| io::Error::other("that is not a file name"))?;
        let name = name.to_string_lossy().into_owned();
        let folder = target.parent().filter(|folder| *folder != OsStr::new("")).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), name, target })
    }

    /// An unpredictable name for the file until it is complete.
    fn temporary(&self) -> PathBuf {
        self.folder.join(format!(".{}.{}.tmp", self.name, Uuid::new_v4().simple()))
    }

    /// Removes the temporary files of killed programs that were writing this file. There is no other writer: the folder
    /// is locked.
    fn remove_leftovers(&self) {
        let begin = format!(".{}.", self.name);
        let is_leftover = |name: &str| {
            let own = name.strip_prefix(&begin).and_then(|rest| rest.strip_suffix(".tmp"));
            own.is_some_and(|own| own.bytes().all(|byte| byte.is_ascii_hexdigit()))
        };
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_leftover) {
                // A leftover that cannot be removed does no harm.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The permissions of the existing file, else those that the process's umask leaves.
    fn permissions(&self) -> Permissions {
        let usual = || Permissions::from_mode(0o666 & !umask());
        fs::metadata(&self.target).map_or_else(|_| usual(), |there| there.permissions())
    }
}

/// Creates a new file that only the owner can read. A link of this name is not followed.
fn create(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// The process's file mode creation mask, as Linux reports it.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}

/// Calls `fill` to write the temporary file (it also gets the target's path), then renames the file.
fn replace(
    path: &Path,
    patience: Duration,
    fill: impl FnOnce(File, &Path) -> io::Result<File>,
) -> io::Result<()> {
    let place = FileTarget::from_path(path)?;
    let folder = File::open(&place.folder)?;
    match lock(&folder, &place.folder, patience) {
        LockResult::Held => place.remove_leftovers(),
        LockResult::Taken if patience == LOCK_TIMEOUT => {
            let waited = humantime::format_duration(LOCK_TIMEOUT);
            let why = format!("another program held the lock on the folder for more than {waited}");
            return Err(io::Error::other(why));
        }
        // Replacing a file needs no lock. A file system without locks (some network ones) is not a reason to lose a
        // result.
        LockResult::Taken | LockResult::Impossible => {}
    }
    let temporary = place.temporary();
    let written = create(&temporary)
        .and_then(|file| fill(file, &place.target))
        .and_then(|file| {
            file.set_permissions(place.permissions())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, &place.target));
    if written.is_err() {
        // The write already failed: a leftover that cannot be removed is not worth another error.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// The result of an attempt to lock a folder.
enum LockResult {
    Held,
    /// Another program holds the lock.
    Taken,
    Impossible,
}

fn lock(folder: &File, path: &Path, patience: Duration) -> LockResult {
    let mut waited = Duration::ZERO;
    loop {
        match folder.try_lock() {
            Ok(()) => return LockResult::Held,
            Err(TryLockError::Error(_)) => return LockResult::Impossible,
            Err(TryLockError::WouldBlock) if waited >= patience => return LockResult::Taken,
            Err(TryLockError::WouldBlock) => {}
        }
        if waited == LOCK_NOTICE_DELAY {
            WAIT_HOOK.get().into_iter().for_each(|tell| tell(path));
        }
        std::thread::sleep(LOCK_RETRY_INTERVAL);
        waited += LOCK_RETRY_INTERVAL;
    }
}

/// Returns whether a line can begin at the file's end, and seeks there.
fn is_at_line_start(file: &mut File) -> io::Result<bool> {
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
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n");
        fs::write(&path, "1\n2").unwrap();
        append(&path, |out| out.write_all(b"3")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n2\n3\n", "vLLM leaves the last line open");
        assert_eq!(names(path.parent().unwrap()), ["runs.jsonl"], "a temporary file was left");
    }

    #[test]
    fn many_can_append_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
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
    fn temporary_files_are_private_and_those_of_dead_programs_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        let dead = [".r.json.4711.tmp", ".r.json.0123456789abcdef.tmp"];
        let others = [".r.json.notes.tmp", ".other.json.1.tmp"];
        dead.iter().chain(&others).for_each(|name| fs::write(folder.path().join(name), "").unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        write_with(&path, |out| {
            let own = names(folder.path()).into_iter().find(|name| name.len() > 40 && name.ends_with(".tmp"));
            assert_eq!(mode(&folder.path().join(own.unwrap())), 0o600);
            out.write_all(b"new")
        })
        .unwrap();
        assert_eq!(mode(&path), 0o666 & !umask());
        let mut left = names(folder.path());
        left.sort_unstable();
        assert_eq!(left, [".other.json.1.tmp", ".r.json.notes.tmp", "r.json"]);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write(&path, b"newer").unwrap();
        assert_eq!(mode(&path), 0o640, "as it was");
    }

    #[test]
    fn what_is_replaced_does_not_wait_for_another_program_for_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        let locked = File::open(folder.path()).unwrap();
        locked.lock().unwrap();
        write(&path, b"1").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1");
        assert!(matches!(
            lock(&File::open(folder.path()).unwrap(), folder.path(), LOCK_RETRY_INTERVAL),
            LockResult::Taken
        ));
    }

    #[test]
    fn a_link_under_the_temporary_name_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let [precious, link] = ["precious", "link"].map(|name| folder.path().join(name));
        fs::write(&precious, "precious").unwrap();
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        assert_eq!(create(&link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }

    #[test]
    fn a_probe_tells_what_a_write_would() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::write(&taken, "").unwrap();
        check_writable(&taken).unwrap();
        check_writable(&folder.path().join("new/result.json")).unwrap();
        let too_long = "n".repeat(230);
        for impossible in ["taken/result.json", "new", "..", &too_long] {
            let error = check_writable(&folder.path().join(impossible)).unwrap_err().to_string();
            assert!(error.starts_with("cannot write "), "{error}");
        }
        assert!(names(&folder.path().join("new")).is_empty(), "a probe leaves nothing behind");
    }
}
