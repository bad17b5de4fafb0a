use std::io::Read as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use ::parquet::basic::Compression;
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use serde_json::json;
use tempfile::TempDir;

use super::super::hf::tests::parquet_file;
use super::*;
use crate::dataset::prepare;
use crate::model::rng::RunRng;
use crate::model::run_spec::{self, Dataset};
use crate::model::units::Secret;
use crate::tokenizer::Tokenizer;

/// A hub that answers by path and records the requested paths.
fn serve(answers: Vec<(String, Vec<u8>)>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    let answers: Vec<(String, Vec<u8>)> = answers
        .into_iter()
        .map(|(path, body)| {
            (
                path,
                String::from_utf8(body.clone())
                    .map_or(body, |text| text.replace("HUB", &endpoint).into_bytes()),
            )
        })
        .collect();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            log.lock().unwrap().push(head);
            let found = answers.iter().find(|(known, _)| *known == path);
            let (status, body) = found.map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body));
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), body].concat());
        }
    });
    (endpoint, asked)
}

fn hub(cache: &TempDir, endpoint: &str) -> HfHub {
    let token = Some(Secret::new("hf_secret"));
    HfHub { cache: cache.path().into(), endpoint: endpoint.into(), token, offline: false }
}

fn wanted() -> HfDataset {
    HfDataset {
        path: "org/name".into(),
        subset: None,
        split: None,
        output_len: None,
        name: None,
        text_column: None,
    }
}

async fn get(hf: &HfDataset, rows: usize, hub: &HfHub) -> Result<HfDataset, String> {
    fetch(hf, rows, hub, &|_| {}).await.map_err(|error| error.to_string())
}

fn shard(text: &str) -> Vec<u8> {
    parquet_file(["prompt", "answer"], &[[text, "yes"], [text, "no"]], Compression::SNAPPY)
}

/// A dataset with two shards in its training split.
fn converted() -> Vec<(String, Vec<u8>)> {
    let urls = |split: &str| [0, 1].map(|n| format!("HUB/{split}/{n}"));
    let listing = json!({"default": {"test": urls("test"), "train": urls("train")}, "other": {"x": []}});
    vec![
        ("/api/datasets/org/name/parquet".into(), listing.to_string().into_bytes()),
        ("/train/0".into(), shard("first")),
        ("/train/1".into(), shard("second")),
    ]
}

#[tokio::test]
async fn as_many_shards_are_downloaded_as_are_needed_and_kept_for_the_next_run() {
    let cache = TempDir::new().unwrap();
    let (endpoint, asked) = serve(converted());
    let mut hub = hub(&cache, &endpoint);
    let one = get(&wanted(), 2, &hub).await.unwrap();
    let folder = cache.path().join("datasets--org--name/converted/default/train");
    assert_eq!((&one.path, one.name.as_deref()), (&folder, Some("org/name")));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let two = get(&wanted(), 3, &hub).await.unwrap();
    assert_eq!((two, fs::read_dir(&folder).unwrap().count()), (one.clone(), 2));
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.iter().filter(|head| head.starts_with("GET /train/0")).count(), 1);
    assert!(asked.iter().all(|head| head.contains("Bearer hf_secret")), "{asked:?}");
    hub.offline = true;
    hub.endpoint = "http://127.0.0.1:1".into();
    assert_eq!(get(&wanted(), 3, &hub).await.unwrap(), one);
}

#[tokio::test]
async fn a_repository_without_a_list_of_shards_gives_its_own_files() {
    let cache = TempDir::new().unwrap();
    let tree = json!([
        {"type": "directory", "path": "data"}, {"type": "file", "path": "README.md"},
        {"type": "file", "path": "data/train.jsonl"}, {"type": "file", "path": "../evil.jsonl"},
    ]);
    let (endpoint, _) = serve(vec![
        ("/api/datasets/org/name/tree/main?recursive=true".into(), tree.to_string().into_bytes()),
        ("/datasets/org/name/resolve/main/data/train.jsonl".into(), br#"{"prompt": "a b c d"}"#.to_vec()),
    ]);
    let local = get(&wanted(), 1, &hub(&cache, &endpoint)).await.unwrap();
    assert_eq!(local.path, cache.path().join("datasets--org--name/repository"));
    assert!(local.path.join("data/train.jsonl").is_file());
}

#[tokio::test]
async fn what_the_hub_does_not_have_is_told_in_one_line_with_ways_out() {
    let cache = TempDir::new().unwrap();
    let (endpoint, _) = serve(converted());
    let online = hub(&cache, &endpoint);
    let subset = HfDataset { subset: Some("none".into()), ..wanted() };
    let split = HfDataset { split: Some("dev".into()), ..wanted() };
    let missing = HfDataset { path: "org/missing".into(), ..wanted() };
    let lost = HfDataset { split: Some("test".into()), ..wanted() };
    let offline = HfHub { offline: true, ..hub(&cache, &endpoint) };
    for (hf, hub, expected) in [
        (&subset, &online, "no such `hf.subset`; there are: default, other"),
        (&split, &online, "no such `hf.split`; there are: test, train"),
        (&missing, &online, "HTTP 404: no such dataset"),
        (&lost, &online, "/test/0: HTTP 404"),
        (&missing, &offline, "not in the cache, and HF_HUB_OFFLINE is set"),
        (&wanted(), &self::hub(&cache, "http://127.0.0.1:1"), "onnection refused"),
    ] {
        let error = get(hf, 1, hub).await.unwrap_err();
        assert!(error.contains(expected) && error.contains("set `dataset.path`"), "{error}");
        assert!(error.lines().count() == 1 && !error.contains("hf_secret"), "{error}");
    }
    let left: Vec<_> = fs::read_dir(cache.path()).unwrap().collect();
    assert!(left.len() <= 1, "no part of a file is left: {left:?}");
}

#[tokio::test]
async fn what_lies_here_or_is_no_id_is_left_alone() {
    let cache = TempDir::new().unwrap();
    let nowhere = hub(&cache, "http://127.0.0.1:1");
    let here = cache.path().display().to_string();
    for path in [here.as_str(), "data.jsonl", "./org/name", "/org/name", "org/name.parquet", "a/b/c", "~/x"] {
        let hf = HfDataset { path: path.into(), ..wanted() };
        assert_eq!(get(&hf, 1, &nowhere).await, Ok(hf));
    }
}

/// A file in SPEED-Bench's format, where `turns` is a list of texts.
fn turns(texts: &[&str]) -> Vec<u8> {
    let schema = "message rows { required group turns (LIST) { repeated group list { required binary element (UTF8); } }
                                 required binary category (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut write = |values: &[ByteArray], levels: Option<(&[i16], &[i16])>| {
        let mut column = group.next_column().unwrap().unwrap();
        let (definition, repetition) = levels.unzip();
        column.typed::<ByteArrayType>().write_batch(values, definition, repetition).unwrap();
        column.close().unwrap();
    };
    let values: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(*text)).collect();
    write(&values, Some((&vec![1; texts.len()], &vec![0; texts.len()])));
    write(&vec![ByteArray::from("maths"); texts.len()], None);
    group.close().unwrap();
    writer.close().unwrap();
    file
}

#[tokio::test]
async fn speed_bench_comes_from_the_hub_where_no_folder_is_named() {
    let listing = json!({"qualitative": {"test": ["HUB/q"]}, "throughput_1k": {"test": ["HUB/t"]}});
    let (endpoint, _) = serve(vec![
        ("/api/datasets/nvidia/SPEED-Bench/parquet".into(), listing.to_string().into_bytes()),
        ("/q".into(), turns(&["What is seven times six?", "Which number is prime?"])),
    ]);
    let cache = TempDir::new().unwrap();
    let bench = |path: &str| SpeedBench {
        path: path.into(),
        subset: "qualitative".into(),
        output_len: 8,
        category: Some("maths".into()),
        max_input_len: None,
    };
    let hub = hub(&cache, &endpoint);
    let fetched = fetch_speed_bench(&bench(SpeedBench::HUB_ID), 10, &hub, &|_| {}).await.unwrap();
    let wanted = run_spec::WorkloadSpec::new(Dataset::SpeedBench(fetched), run_spec::WorkloadSpec::ALL);
    let workload = prepare(&wanted, &mut RunRng::native(1), &Tokenizer::Estimate, &|_| {}).unwrap();
    let mut texts: Vec<_> =
        workload.requests.kept().iter().map(|request| request.content.as_text().unwrap()).collect();
    texts.sort();
    assert_eq!(texts, ["What is seven times six?", "Which number is prime?"]);
    let other = bench("data/speed_bench");
    assert_eq!(
        fetch_speed_bench(&other, 10, &hub, &|_| {}).await.unwrap(),
        other,
        "nobody's folder is looked for there"
    );
    let offline = HfHub { cache: cache.path().join("empty"), offline: true, ..hub };
    let error =
        fetch_speed_bench(&bench(SpeedBench::HUB_ID), 10, &offline, &|_| {}).await.unwrap_err().to_string();
    assert!(error.contains("HF_HUB_OFFLINE is set") && error.contains("`dataset.path`"), "{error}");
}
