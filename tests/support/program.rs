//! The program as a user meets it: a command line, an environment, two pipes, a folder, an exit code.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use servebench::drive::workload::bundled;
use tempfile::TempDir;

use super::{PATIENCE, until, until_within};

/// The path of the bundled tokenizer, unpacked.
fn tokenizer() -> &'static Path {
    static UNPACKED: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tokenizer.json");
        // Renamed into place, so that another test program never reads half of it.
        let partial = path.with_extension(std::process::id().to_string());
        fs::write(&partial, bundled::tokenizer_json()).unwrap();
        fs::rename(partial, &path).unwrap();
        path
    });
    &UNPACKED
}

/// A command line of `servebench`, to be run in an empty folder, with an empty environment, without a terminal.
pub struct Program {
    command: Command,
    folder: TempDir,
}

impl Program {
    /// From the words after the program's name, split at blanks.
    pub fn new(words: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_servebench"));
        command
            .current_dir(folder.path())
            .env_clear()
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", folder.path().join("no-cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self { command, folder }.words(words)
    }

    /// `servebench run` against a server, with a model whose tokenizer is nowhere to be found. Whether a run is VALID
    /// depends on how busy the machine is, so that is let pass.
    pub fn run_against(base_url: &str, words: &str) -> Self {
        Self::new("run --allow-invalid --model some-model --base-url").arg(base_url).words(words)
    }

    /// `servebench run` against a server, with a tokenizer that counts as the simulator does.
    pub fn measure(base_url: &str, words: &str) -> Self {
        Self::run_against(base_url, words).arg("--tokenizer").arg(tokenizer())
    }

    pub fn words(mut self, words: &str) -> Self {
        self.command.args(words.split_whitespace());
        self
    }

    /// One word, blanks and all.
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.command.arg(word);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Started as `nohup` starts it.
    pub fn ignoring_hangups(mut self) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
        command.arg(self.command.get_program()).args(self.command.get_args());
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.command = command;
        self
    }

    /// Puts a file into the folder, or into one in it.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Nothing can be written on its stdout: `> /dev/full`.
    pub fn with_full_stdout(mut self) -> Self {
        self.command.stdout(File::options().write(true).open("/dev/full").unwrap());
        self
    }

    /// Nobody reads its stdout any more: `| head` that has ended.
    pub fn with_closed_stdout(mut self) -> Self {
        let (_, writer) = std::io::pipe().unwrap();
        self.command.stdout(writer);
        self
    }

    pub fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        // Our copy of a pipe that is its stdout or stderr closes with the command.
        drop(self.command);
        let stdout = child.stdout.take().map(Pipe::drain).unwrap_or_default();
        let stderr = Pipe::drain(child.stderr.take().unwrap());
        Running { child, stdout, stderr, folder: Some(self.folder) }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn end(self) -> Ended {
        self.start().end()
    }
}

/// A running program; it is killed when this is dropped.
pub struct Running {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
    folder: Option<TempDir>,
}

impl Running {
    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it handles a signal in its own way.
    pub fn listens_to(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
        mask >> (signal.as_raw() - 1) & 1 == 1
    }

    /// What it has said on stdout so far.
    pub fn stdout_so_far(&self) -> String {
        self.stdout.so_far()
    }

    /// Ends it as nothing else does: it does not get to do anything about it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// What it has said on stderr so far.
    pub fn stderr_so_far(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits until it has said this on stdout.
    #[track_caller]
    pub fn wait_for_stdout(&self, part: &str) {
        until(&format!("stdout has {part:?}"), || self.stdout.so_far().contains(part));
    }

    /// Waits until it has said this on stderr.
    #[track_caller]
    pub fn wait_for(&self, part: &str) {
        until(&format!("stderr has {part:?}"), || self.stderr.so_far().contains(part));
    }

    #[track_caller]
    pub fn end(self) -> Ended {
        self.end_within(PATIENCE)
    }

    /// The same for one that takes long.
    #[track_caller]
    pub fn end_within(mut self, patience: Duration) -> Ended {
        let mut status = None;
        until_within(patience, "the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        Ended {
            code: status.and_then(|status| status.code()),
            stdout: self.stdout.whole(),
            stderr: self.stderr.whole(),
            folder: self.folder.take().expect("it ends once"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Most often it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What comes out of a pipe, read as it comes.
#[derive(Default)]
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Pipe {
    fn drain(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                kept.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, thread: Some(thread) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn whole(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        String::from_utf8(std::mem::take(&mut self.bytes.lock().unwrap())).expect("the program writes UTF-8")
    }
}

/// What a program left behind.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    folder: TempDir,
}

impl Ended {
    /// Asserts the exit code.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that all went well.
    #[track_caller]
    pub fn well(self) -> Self {
        self.with_code(0)
    }

    /// The result that was saved in the program's folder: its name and content.
    #[track_caller]
    pub fn saved(&self) -> (String, Value) {
        let files = self.files("");
        let mut results = files.iter().filter(|name| name.ends_with(".json"));
        let (Some(name), None) = (results.next(), results.next()) else {
            panic!("not one result: {files:?}\n{}", self.stderr)
        };
        (name.clone(), serde_json::from_str(&self.read(name)).unwrap())
    }

    /// The content of the saved result.
    #[track_caller]
    pub fn result(&self) -> Value {
        self.saved().1
    }

    /// Whether nothing was saved.
    pub fn saved_nothing(&self) -> bool {
        self.files("").is_empty()
    }

    /// The names in the program's folder, or in a folder in it.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// A file in the program's folder.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// The same for one that is no text.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    /// The value of a line of the report, `Label: value`.
    #[track_caller]
    pub fn line(&self, label: &str) -> &str {
        let prefix = format!("{label}: ");
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no line `{label}` in:\n{}", self.stdout))
    }
}
