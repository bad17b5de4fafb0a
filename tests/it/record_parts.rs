//! `--save-records DIR/`: files of requests that are written while a run goes on.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::Value;

use crate::support::{Program, Running, Simulator, quick, until};

const LOAD: &str =
    "--dataset-name random --random-input-len 8 --random-output-len 6 --ignore-eos --disable-tqdm";

/// The complete files of a folder.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut parts: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "parquet")).collect();
    parts.sort();
    parts
}

/// The rows of all files of a folder, in the order of the schedule.
fn rows(folder: &Path) -> Vec<Value> {
    let mut rows = Vec::new();
    for part in parts(folder) {
        let file = SerializedFileReader::new(File::open(part).unwrap()).unwrap();
        rows.extend(file.get_row_iter(None).unwrap().map(|row| row.unwrap().to_json_value()));
    }
    rows.sort_by_key(|row| row["ordinal"].as_u64());
    rows
}

fn ordinals(folder: &Path) -> Vec<u64> {
    rows(folder).iter().map(|row| row["ordinal"].as_u64().unwrap()).collect()
}

#[test]
fn a_folder_gets_every_request_of_a_run() {
    let simulator = Simulator::start(quick());
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("new");
    let words =
        format!("--num-prompts 60 --request-rate 60 --save-detailed --save-records {}/", place.display());
    let ended = simulator.run(LOAD).words(&words).words("--out run.json").end().well();
    let count = parts(&place).len();
    assert!(ended.stderr.contains(&format!(" of requests in {}/\n", place.display())), "{}", ended.stderr);
    let result: Value = serde_json::from_str(&ended.read("run.json")).unwrap();
    let mut rows = rows(&place);
    for (at, row) in rows.iter_mut().enumerate() {
        let row = row.as_object_mut().unwrap();
        assert_eq!(row.remove("generated_text").unwrap(), result["generated_texts"][at]);
        assert_eq!(row.remove("itl_s").unwrap(), result["itls"][at]);
    }
    assert_eq!(rows, *result["servegauge"]["records"].as_array().unwrap());
    let names = std::fs::read_dir(&place).unwrap().count();
    assert_eq!((names, std::fs::read_dir(folder.path()).unwrap().count()), (count, 1), "nothing else stays");
}

#[test]
fn the_shards_of_a_run_write_to_one_folder() {
    let simulator = Simulator::start(quick());
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let words = format!("--num-prompts 30 --local-shards 2 --save-records {url}");
    let ended = simulator.run(LOAD).words(&words).end().well();
    let names: Vec<_> =
        parts(folder.path()).iter().map(|part| part.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["shard-000-part-00001.parquet", "shard-001-part-00001.parquet"], "{}", ended.stderr);
    assert_eq!(ordinals(folder.path()), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_killed_run_leaves_files_that_can_be_read() {
    let simulator = Simulator::start(quick());
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("parts");
    let words = format!("--num-prompts 4000 --request-rate 100 --save-records {}/", place.display());
    let mut client: Running = simulator.run(LOAD).words(&words).start();
    until("two files are written", || parts(&place).len() > 1);
    client.kill();
    let written = ordinals(&place);
    assert!(written.len() > 20, "{written:?}");
    assert!(written.windows(2).all(|pair| pair[0] < pair[1]), "no request is there twice");
    // The log beside the folder has every request, those of the last file too.
    let logs: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let log = logs.iter().find(|path| path.extension().is_some_and(|extension| extension == "reclog"));
    let log = log.unwrap_or_else(|| panic!("no log among {logs:?}"));
    let recovered = Program::new("run --allow-invalid --json --recover").arg(log).end().with_code(0);
    let result: Value = serde_json::from_str(&recovered.stdout).unwrap();
    assert!(result["completed"].as_u64().unwrap() >= written.len() as u64);
}

#[test]
fn a_folder_that_cannot_be_used_is_refused_before_the_load() {
    let simulator = Simulator::start(quick());
    for (words, why) in [
        ("--save-records full", "full has Parquet files already, such as part-00001.parquet"),
        ("--save-records full/", "give --save-records a new folder or prefix"),
        ("--save-records notes.txt/", "cannot write notes.txt/"),
        ("--save-records /proc/records/", "cannot write /proc/records/"),
        #[cfg(not(feature = "object-store"))]
        ("--save-records s3://bucket/a/", "--save-records s3://bucket/a/: this program was built without"),
        ("--save-records s3://bucket/a.parquet", "let its URL end in `/`"),
        ("--save-records ftp://host/a/", "`ftp://` is none of"),
        ("--save-records nowhere", "in `/` for a folder"),
        ("--save-records new/ --repeats 2", "a folder or a bucket takes the requests of one run"),
        ("--save-records s3://a/b/ --max-concurrency 1,2", "a bucket takes the requests of one run"),
    ] {
        let program =
            simulator.run(LOAD).words(words).file("notes.txt", "").file("full/part-00001.parquet", "");
        let ended = program.end().with_code(2);
        assert!(ended.stderr.contains(why), "{words}\n{}", ended.stderr);
        assert!(ended.stdout.is_empty(), "{words}\n{}", ended.stdout);
    }
    assert!(simulator.truth().is_empty(), "nothing was sent");
    for place in ["new/", "s3://bucket/a/"] {
        let ended = Program::new("run --recover r.reclog --save-records").arg(place).end().with_code(2);
        assert!(ended.stderr.contains("give a FILE.parquet"), "{}", ended.stderr);
    }
}
