//! The program as a user runs it: a command line, an environment, two pipes, a folder, an exit code.

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
use servegauge::internals::bundled;
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

/// A command line of `servegauge`, to run in an empty folder, with an empty environment, without a terminal.
pub(crate) struct Program {
    command: Command,
    folder: TempDir,
}

/// A program to run in a folder, with an empty environment and pipes for its output.
fn prepare(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env_clear()
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", folder.join("no-cache"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Program {
    /// Creates a command line from the words after the program's name, split at blanks.
    pub(crate) fn new(words: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let command = prepare(Path::new(env!("CARGO_BIN_EXE_servegauge")), folder.path());
        Self { command, folder }.words(words)
    }

    /// `servegauge run` against a server, with a model that has no local tokenizer. INVALID runs are allowed, because
    /// the verdict depends on how busy the machine is.
    pub(crate) fn run_against(base_url: &str, words: &str) -> Self {
        Self::new("run --allow-invalid --model some-model --base-url").arg(base_url).words(words)
    }

    /// `servegauge run` against a server, with a tokenizer that counts as the simulator does.
    pub(crate) fn measure(base_url: &str, words: &str) -> Self {
        Self::run_against(base_url, words).with_tokenizer()
    }

    /// Adds a tokenizer that counts as the simulator does.
    pub(crate) fn with_tokenizer(self) -> Self {
        self.arg("--tokenizer").arg(tokenizer())
    }

    pub(crate) fn words(mut self, words: &str) -> Self {
        self.command.args(words.split_whitespace());
        self
    }

    /// Adds one word, which may contain blanks.
    pub(crate) fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.command.arg(word);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs a copy of the program that lies in its folder.
    pub(crate) fn copied_as(mut self, name: &str) -> Self {
        let path = self.folder.path().join(name);
        fs::copy(self.command.get_program(), &path).unwrap();
        let mut command = prepare(&path, self.folder.path());
        command.args(self.command.get_args());
        self.command = command;
        self
    }

    /// Runs the program as `nohup` does.
    pub(crate) fn ignoring_hangups(self) -> Self {
        self.through_a_shell("trap '' HUP")
    }

    /// Runs the program from a shell that executes `first` before it.
    fn through_a_shell(mut self, first: &str) -> Self {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(format!("{first}; exec \"$0\" \"$@\""));
        command.arg(self.command.get_program()).args(self.command.get_args());
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.command = command;
        self
    }

    /// Runs the program with `ulimit -f`: no file grows beyond `blocks` blocks of 512 bytes.
    pub(crate) fn with_file_limit(self, blocks: usize) -> Self {
        self.through_a_shell(&format!("ulimit -f {blocks}"))
    }

    /// Runs the program with `ulimit -v`: its address space has at most this number of kilobytes.
    pub(crate) fn with_memory_limit(self, kilobytes: usize) -> Self {
        self.through_a_shell(&format!("ulimit -v {kilobytes}"))
    }

    /// Puts a file into the program's folder or a subfolder.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// Makes every write to the program's stdout fail: `> /dev/full`.
    pub(crate) fn with_full_stdout(mut self) -> Self {
        self.command.stdout(File::options().write(true).open("/dev/full").unwrap());
        self
    }

    /// Closes the reading end of the program's stdout, like a `| head` that has ended.
    pub(crate) fn with_closed_stdout(mut self) -> Self {
        let (_, writer) = std::io::pipe().unwrap();
        self.command.stdout(writer);
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        // Dropping the command closes our copy of a pipe that is its stdout or stderr.
        drop(self.command);
        let stdout = child.stdout.take().map(Pipe::drain).unwrap_or_default();
        let stderr = Pipe::drain(child.stderr.take().unwrap());
        Running { child, stdout, stderr, folder: Some(self.folder) }
    }

    /// Runs the program to its end.
    #[track_caller]
    pub(crate) fn end(self) -> Ended {
        self.start().end()
    }
}

/// A running program. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
    folder: Option<TempDir>,
}

impl Running {
    /// Sends Ctrl-C.
    pub(crate) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether the program handles a signal itself.
    pub(crate) fn listens_to(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
        mask >> (signal.as_raw() - 1) & 1 == 1
    }

    /// The program's stdout until now.
    pub(crate) fn stdout_so_far(&self) -> String {
        self.stdout.so_far()
    }

    /// Kills the program so that it cannot react.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// The names and sizes of the files in the program's folder.
    pub(crate) fn files(&self) -> Vec<(String, u64)> {
        let folder = self.folder.as_ref().expect("it has not ended").path();
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
        files.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len())).collect()
    }

    /// The program's stderr until now.
    pub(crate) fn stderr_so_far(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits until stdout contains `part`.
    #[track_caller]
    pub(crate) fn wait_for_stdout(&self, part: &str) {
        until(&format!("stdout has {part:?}"), || self.stdout.so_far().contains(part));
    }

    /// Waits until stderr contains `part`.
    #[track_caller]
    pub(crate) fn wait_for(&self, part: &str) {
        until(&format!("stderr has {part:?}"), || self.stderr.so_far().contains(part));
    }

    #[track_caller]
    pub(crate) fn end(self) -> Ended {
        self.end_within(PATIENCE)
    }

    /// Waits for the program's end, for at most `patience`.
    #[track_caller]
    pub(crate) fn end_within(mut self, patience: Duration) -> Ended {
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
        // Usually the program has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The output of a pipe, read as it arrives.
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

/// What remains of a program that has ended: its exit code, output and folder.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; `None` if a signal ended the program.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    folder: TempDir,
}

impl Ended {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that the program succeeded. Runs need `--allow-invalid` for that: on a busy machine they may be INVALID.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        self.with_code(0)
    }

    /// The name and content of the result that was saved in the program's folder.
    #[track_caller]
    pub(crate) fn saved(&self) -> (String, Value) {
        let files = self.files("");
        let mut results = files.iter().filter(|name| name.ends_with(".json"));
        let (Some(name), None) = (results.next(), results.next()) else {
            panic!("not one result: {files:?}\n{}", self.stderr)
        };
        (name.clone(), serde_json::from_str(&self.read(name)).unwrap())
    }

    /// The content of the saved result.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        self.saved().1
    }

    /// Whether no result was saved.
    pub(crate) fn saved_nothing(&self) -> bool {
        self.files("").is_empty()
    }

    /// The names of the files in the program's folder, or in a subfolder.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// Everything that the program left: its output, and the names and contents of all files in its folder.
    pub(crate) fn everything(&self) -> Vec<(String, String)> {
        let mut found =
            vec![("stdout".to_owned(), self.stdout.clone()), ("stderr".to_owned(), self.stderr.clone())];
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                        found.push((path.display().to_string(), content));
                    }
                }
            }
        }
        found
    }

    /// Reads a text file in the program's folder.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Reads a binary file in the program's folder.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(name)).unwrap()
    }

    /// The value of a line of the report, which has the form `Label: value`.
    #[track_caller]
    pub(crate) fn line(&self, label: &str) -> &str {
        let prefix = format!("{label}: ");
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(&prefix));
        line.unwrap_or_else(|| panic!("no line `{label}` in:\n{}", self.stdout))
    }
}
