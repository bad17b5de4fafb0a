//! Kept runs: `servegauge run` keeps its latest runs in the user's cache folder. Commands that read a result accept
//! their names: `last`, `last-1` for the run before it, and so on.
//!
//! A file's name begins with the time in UTC, so that names sort by time, and ends with a random part, so that two
//! programs never write the same file.

use std::env;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use uuid::Uuid;

use super::exit::CliError;
use crate::model::run::{Run, RunError};

/// The variable that turns keeping off: `SERVEGAUGE_KEEP=0`.
pub(super) const VARIABLE: &str = "SERVEGAUGE_KEEP";

/// The most runs that are kept.
const MAX_RUNS: usize = 100;

/// The most bytes that kept runs occupy. The newest run is kept whatever its size.
const MAX_BYTES: u64 = 256 << 20;

/// The name of the newest run.
const NEWEST: &str = "last";

/// The folder of the user's kept runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptRuns {
    folder: PathBuf,
}

impl KeptRuns {
    /// Returns the folder of the user, in `$XDG_CACHE_HOME` or `~/.cache`; `None` if the environment names neither.
    pub(super) fn of_user() -> Option<Self> {
        let absolute =
            |name| env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
        let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(Self { folder: cache.join("servegauge").join("runs") })
    }

    /// Returns the folder to keep a run in; `None` if the user wants no runs to be kept, or has no home.
    pub(super) fn to_write() -> Option<Self> {
        let is_off = env::var(VARIABLE).is_ok_and(|value| matches!(value.as_str(), "0" | "false" | "no"));
        if is_off { None } else { Self::of_user() }
    }

    /// Returns the folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Saves a run without its requests, and removes the oldest runs beyond the limits. Returns the file.
    pub(super) fn keep(&self, run: &mut Run) -> Result<PathBuf, RunError> {
        let time = Timestamp::now().strftime("%Y%m%dT%H%M%S%.6fZ");
        let random = Uuid::new_v4().simple().to_string();
        let path = self.folder.join(format!("{time}-{}.json", &random[..8]));
        let private = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        private.map_err(|source| RunError::Write { path: path.clone(), source })?;
        let records = run.records.take();
        let saved = run.save(&path);
        run.records = records;
        saved?;
        self.prune(MAX_RUNS, MAX_BYTES);
        Ok(path)
    }

    /// Lists the files of the kept runs, the newest first.
    pub(super) fn files(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files =
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        files.sort_unstable_by(|a, b| b.cmp(a));
        Ok(files)
    }

    fn prune(&self, max_runs: usize, max_bytes: u64) {
        let mut bytes = 0;
        for (place, file) in self.files().unwrap_or_default().iter().enumerate() {
            bytes += fs::metadata(file).map_or(0, |metadata| metadata.len());
            if place > 0 && (place >= max_runs || bytes > max_bytes) {
                // Another program may have removed it.
                let _ = fs::remove_file(file);
            }
        }
    }
}

/// Returns the name of the run that is this many runs older than the newest.
pub(super) fn name(back: usize) -> String {
    if back == 0 { NEWEST.to_owned() } else { format!("{NEWEST}-{back}") }
}

/// Whether a path is the name of a kept run. A file or folder of that name takes precedence.
pub(super) fn is_name(path: &Path) -> bool {
    position(path).is_some() && !path.exists()
}

/// Returns the file of a kept run if the path is the name of one, else the path itself.
pub(super) fn locate(path: &Path) -> Result<PathBuf, CliError> {
    let Some(back) = position(path).filter(|_| is_name(path)) else { return Ok(path.to_owned()) };
    let name = path.display();
    let Some(kept) = KeptRuns::of_user() else {
        return Err(CliError::usage(format!("no run is kept as `{name}`: {NO_HOME}")));
    };
    let folder = kept.folder.display();
    let files = kept
        .files()
        .map_err(|error| CliError::usage(format!("cannot read the kept runs in {folder}: {error}")))?;
    files.get(back).cloned().ok_or_else(|| {
        let count = match files.len() {
            0 => "none is".to_owned(),
            1 => "only `last` is".to_owned(),
            count => format!("only `last` to `last-{}` are", count - 1),
        };
        CliError::usage(format!(
            "no run is kept as `{name}`: {count} in {folder}; `servegauge runs` lists them"
        ))
    })
}

/// Why a user has no kept runs.
pub(super) const NO_HOME: &str = "neither XDG_CACHE_HOME nor HOME names a folder for kept runs";

fn position(path: &Path) -> Option<usize> {
    let rest = path.to_str()?.strip_prefix(NEWEST)?;
    if rest.is_empty() { Some(0) } else { rest.strip_prefix('-')?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_run;

    fn kept(folder: &Path) -> KeptRuns {
        KeptRuns { folder: folder.join("servegauge/runs") }
    }

    #[test]
    fn the_newest_run_comes_first_and_has_no_requests() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path());
        assert_eq!(kept.files().unwrap(), Vec::<PathBuf>::new());
        let mut run = sample_run::run(true);
        let first = kept.keep(&mut run).unwrap();
        assert!(run.records.is_some(), "the caller's run is left as it was");
        let second = kept.keep(&mut run).unwrap();
        assert_eq!(kept.files().unwrap(), [second.clone(), first]);
        assert!(Run::load(&second).unwrap().records.is_none());
    }

    #[test]
    fn kept_runs_are_bounded_in_number_and_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path());
        let mut run = sample_run::run(false);
        let files: Vec<PathBuf> = (0..5).map(|_| kept.keep(&mut run).unwrap()).collect();
        let size = fs::metadata(&files[0]).unwrap().len();
        kept.prune(4, u64::MAX);
        assert_eq!(kept.files().unwrap().len(), 4);
        kept.prune(4, 2 * size + size / 2);
        assert_eq!(kept.files().unwrap(), [&files[4], &files[3]].map(Clone::clone));
        kept.prune(4, 1);
        assert_eq!(kept.files().unwrap(), [files[4].clone()], "the newest stays");
    }

    #[test]
    fn programs_that_keep_at_once_do_not_clash() {
        let folder = tempfile::tempdir().unwrap();
        let kept = kept(folder.path());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| kept.keep(&mut sample_run::run(false)).unwrap());
            }
        });
        let files = kept.files().unwrap();
        assert_eq!(files.len(), 8);
        assert!(files.iter().all(|file| Run::load(file).is_ok()));
    }

    #[test]
    fn names_count_back_from_the_last_run() {
        for back in [0, 1, 12] {
            assert_eq!(position(Path::new(&name(back))), Some(back));
        }
        for other in ["last.json", "last-", "last-x", "./last", "latest", "a/last", "last--1"] {
            assert_eq!(position(Path::new(other)), None, "{other}");
        }
    }
}
