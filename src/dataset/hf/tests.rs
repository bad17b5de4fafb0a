use std::sync::Arc;

use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::data_type::{ByteArray, ByteArrayType};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::model::run_spec::{self, Dataset, DatasetSampling};
use crate::tokenizer::Tokenizer;

/// Builds a Parquet file with two text columns.
pub(in super::super) fn parquet_file(columns: [&str; 2], rows: &[[&str; 2]], codec: Compression) -> Vec<u8> {
    let columns = columns.map(|name| format!("required binary {name} (UTF8);"));
    let schema = format!("message rows {{ {} }}", columns.join(" "));
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(codec).build());
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for index in 0..2 {
        let values: Vec<ByteArray> = rows.iter().map(|row| ByteArray::from(row[index])).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    file
}

fn hf(path: &Path) -> HfDataset {
    HfDataset {
        path: path.into(),
        subset: None,
        split: None,
        output_len: None,
        name: None,
        text_column: None,
    }
}

/// Takes prompts in the order of the files and estimates their lengths.
fn take(hf: HfDataset, num_prompts: usize) -> Result<PreparedWorkload, String> {
    let draw = DatasetSampling { shuffle: false, oversample: true };
    let wanted = run_spec::WorkloadSpec { draw, ..run_spec::WorkloadSpec::new(Dataset::Hf(hf), num_prompts) };
    super::super::prepare(&wanted, &mut RunRng::native(1), &Tokenizer::Estimate, &|_| {})
        .map_err(|error| error.to_string())
}

fn texts(workload: &PreparedWorkload) -> Vec<&str> {
    workload.requests.kept().iter().map(|request| request.content.as_text().unwrap()).collect()
}

const ROWS: &[[&str; 2]] =
    &[["How far is the moon?", "About a second."], ["What is the time?", "It is late, I am afraid."]];

#[test]
fn parquet_files_of_the_pure_codecs_are_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.parquet");
    for codec in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4_RAW,
    ] {
        fs::write(&path, parquet_file(["question", "answer"], ROWS, codec)).unwrap();
        let workload = take(hf(&path), 2).unwrap();
        assert_eq!(texts(&workload), ["How far is the moon?", "What is the time?"], "{codec}");
        assert_eq!(workload.requests.kept()[0].max_tokens, 4, "the answer has 15 characters");
        let digest = Digest::from_bytes(&fs::read(&path).unwrap());
        assert_eq!((workload.provenance.candidates, workload.provenance.sha256), (2, Some(digest)));
    }
}

#[test]
fn parquet_files_that_cannot_be_read_are_told_in_one_line() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.parquet");
    let whole = parquet_file(["question", "answer"], ROWS, Compression::SNAPPY);
    let refused = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        let error = take(hf(&path), 1).unwrap_err();
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
        assert!(!error.contains('\n') && error.len() < 600, "{error}");
        error
    };
    for content in
        [&whole[..whole.len() - 9], &whole[..whole.len() / 2], b"PAR1", b"PAR1 is not all of it PAR1"]
    {
        assert!(refused(content).contains("not a whole Parquet file"));
    }
    let mut damaged = whole.clone();
    damaged[6..40].fill(0xff);
    assert!(refused(&damaged).contains("not a whole Parquet file"));
    let other = parquet_file(["a", "b"], ROWS, Compression::SNAPPY);
    assert!(refused(&other).contains("no column with prompts among the columns a, b; `hf.text_column`"));
    assert!(refused(b"\x89PNG").contains("not JSON") || refused(b"\x89PNG").contains("not UTF-8"));
}

#[test]
fn a_file_that_unpacks_to_hundreds_of_times_its_size_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.parquet");
    let refused = |rows: &[[&str; 2]], codec| {
        fs::write(&path, parquet_file(["question", "answer"], rows, codec)).unwrap();
        take(hf(&path), 1).unwrap_err()
    };
    let (large, small) = ("a".repeat(50 << 20), "a".repeat(1 << 19));
    // The size in the file's metadata is enough for the refusal.
    let text = refused(&[[&large, "b"], [&large, "c"]], Compression::GZIP(Default::default()));
    assert!(text.contains("it expands to more than 200 times its size"), "{text}");
    // A text that many rows share is stored once, so the file's metadata does not show the size in advance.
    let text = refused(&vec![[small.as_str(), "b"]; 400], Compression::GZIP(Default::default()));
    assert!(text.contains("it expands to more than 200 times its size"), "{text}");
}

#[test]
fn zstandard_is_refused_with_a_way_out() {
    // The writer cannot produce such a file without the C library, so the test writes the codec's number into the
    // footer of another file.
    let mut file = parquet_file(["question", "answer"], ROWS, Compression::SNAPPY);
    let codec_field = |file: &[u8]| -> Vec<usize> {
        // In a column's metadata: its path, one list of one text, then the codec as an i32 field.
        let names: [&[u8]; 2] = [b"question", b"answer"];
        let after = |name: &[u8]| {
            file.windows(name.len()).rposition(|window| window == name).map(|at| at + name.len())
        };
        names.iter().filter_map(|name| after(name)).collect()
    };
    for at in codec_field(&file) {
        assert_eq!(
            &file[at..at + 2],
            [0x15, 0x02],
            "the field after the path is the codec, and it is Snappy"
        );
        file[at + 1] = 0x0c;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.parquet");
    fs::write(&path, file).unwrap();
    let error = take(hf(&path), 1).unwrap_err();
    assert!(error.contains("compressed with ZSTD") && error.contains("snappy or gzip"), "{error}");
    let _ = ZstdLevel::default();
}

#[test]
fn jsonl_and_json_are_read_and_rows_without_a_text_are_counted() {
    let folder = TempDir::new().unwrap();
    let rows = [json!({"prompt": "one two three four"}), json!({"prompt": null}), json!({"prompt": "x"})];
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    for (name, content) in [("x.jsonl", lines), ("x.json", json!(rows).to_string())] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let workload = take(hf(&path), 1).unwrap();
        assert_eq!(
            (texts(&workload), workload.requests.kept()[0].max_tokens),
            (vec!["one two three four"], DEFAULT_OUTPUT_LEN)
        );
        let all = take(hf(&path), 5).unwrap();
        let dropped = all.provenance.dropped;
        assert_eq!((all.provenance.candidates, dropped.textless, dropped.short_prompt), (3, 1, 1));
    }
}

#[test]
fn an_output_length_is_the_users_or_the_known_datasets_or_the_answers() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.jsonl");
    fs::write(&path, json!({"question": "How far is the moon?", "answer": "Not very far."}).to_string())
        .unwrap();
    let length = |change: &dyn Fn(&mut HfDataset)| {
        let mut hf = hf(&path);
        change(&mut hf);
        take(hf, 1).unwrap().requests.to_vec()[0].max_tokens
    };
    assert_eq!(length(&|_| ()), 4);
    assert_eq!(length(&|hf| hf.name = Some("openai/gsm8k".into())), 256);
    assert_eq!(length(&|hf| hf.output_len = Some(9)), 9);
}

#[test]
fn a_folder_is_read_by_subset_and_split_and_no_further_than_needed() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, json!({"prompt": text}).to_string()).unwrap();
    };
    write("en/train-00000-of-00002.jsonl", "english train first");
    write("en/train-00001-of-00002.jsonl", "english train second");
    write("en/test.jsonl", "english test only");
    write("de/train.jsonl", "deutsch zum Lernen");
    write("dataset_infos.json", "about the dataset");
    let with = |subset: Option<&str>, split: Option<&str>, n| {
        let (subset, split) = (subset.map(str::to_owned), split.map(str::to_owned));
        take(HfDataset { subset, split, ..hf(folder.path()) }, n)
    };
    assert_eq!(texts(&with(Some("en"), None, 2).unwrap()), ["english train first", "english train second"]);
    assert_eq!(texts(&with(None, Some("test"), 1).unwrap()), ["english test only"]);
    assert_eq!(with(None, None, 3).unwrap().provenance.candidates, 3, "train is taken by default");
    let error = with(Some("fr"), Some("train"), 1).unwrap_err();
    assert!(
        error.contains("holds no Parquet, JSONL or JSON file of subset `fr` of split `train`"),
        "{error}"
    );
    let empty = TempDir::new().unwrap();
    assert!(take(hf(empty.path()), 1).unwrap_err().contains("holds no Parquet"));
}

#[test]
fn names_of_files_tell_the_split() {
    let names = [
        "data/train-00000.parquet",
        "default/test/0000.parquet",
        "validation.json",
        "README.md",
        "train.jsonl",
    ]
    .map(str::to_owned);
    assert_eq!(select_files(&names, None, None), ["data/train-00000.parquet"]);
    assert_eq!(select_files(&names, None, Some("test")), ["default/test/0000.parquet"]);
    assert_eq!(select_files(&names[2..], None, Some("validation")), ["validation.json"]);
    assert_eq!(select_files(&names[3..4], None, None), [""; 0]);
}
