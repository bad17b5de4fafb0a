//! Tests that a bad row costs only that row. Every reader counts it with its reason. A strict reading reports an error
//! with its position.

use super::*;
use crate::dataset::bundled;
use crate::model::run_spec::{HfDataset, SpecBench, TraceKind};
use crate::testing::datasets;

const GOOD_TURNS: &str =
    r#"[{"from":"human","value":"one two three four"},{"from":"gpt","value":"five six seven eight"}]"#;

/// A file of one dataset: its content, the number of rows that are sent, the counted fault and its number, and the
/// position where a strict reading ends.
struct Case {
    dataset: fn(PathBuf) -> Dataset,
    content: String,
    used: usize,
    fault: (&'static str, usize),
    place: &'static str,
}

pub(super) fn sharegpt_file(path: PathBuf) -> Dataset {
    sharegpt(Some(path))
}

pub(super) fn turns(path: PathBuf) -> Dataset {
    Dataset::SharegptTurns { path: Some(path), output_len: None, turns: None }
}

pub(super) fn custom(path: PathBuf) -> Dataset {
    Dataset::Custom { path, output_len: Some(5) }
}

pub(super) fn spec_bench(path: PathBuf) -> Dataset {
    Dataset::SpecBench(SpecBench { path, output_len: 7, category: None })
}

pub(super) fn hf(path: PathBuf) -> Dataset {
    Dataset::Hf(HfDataset {
        path,
        subset: None,
        split: None,
        output_len: None,
        name: None,
        text_column: None,
    })
}

pub(super) fn conversations_file(path: PathBuf) -> Dataset {
    Dataset::Conversations { path, all: false }
}

fn trace(kind: TraceKind, path: PathBuf) -> Dataset {
    Dataset::Trace(datasets::trace(kind, path))
}

fn azure(path: PathBuf) -> Dataset {
    trace(TraceKind::Azure, path)
}

pub(super) fn burstgpt(path: PathBuf) -> Dataset {
    trace(TraceKind::Burstgpt, path)
}

fn timed_trace(path: PathBuf) -> Dataset {
    trace(TraceKind::TimedTrace, path)
}

/// A ShareGPT file with a bad entry between two good ones.
fn between(bad: &str) -> String {
    format!("[\n{{\"conversations\": {GOOD_TURNS}}},\n{bad},\n{{\"conversations\": {GOOD_TURNS}}}]")
}

fn case(dataset: fn(PathBuf) -> Dataset, content: String, fault: &'static str, place: &'static str) -> Case {
    Case { dataset, content, used: 2, fault: (fault, 1), place }
}

/// Bad rows of public files, and the reports of tools that encountered them: vLLM `benchmarks/datasets` and SGLang
/// `bench_serving.py` (`if "conversations" in entry`); NVIDIA-NeMo/Megatron-Bridge PR #5742 (`value` null);
/// ai-dynamo/aiperf PRs #798 (a system turn first) and #828 (a turn that is not an object, `turns` that is not a list);
/// NVIDIA-NeMo/Automodel PR #1694 (lines that are not JSON); MakazhanAlpamys/Soup #548 (its four lines);
/// huggingface/datasets PR #7963 (null in a text column); hiyouga/LlamaFactory #6878 (roles out of order);
/// HPMLL/BurstGPT #11 (rows with zero tokens); ai-dynamo/aiperf PR #786 (BurstGPT rows that cannot be parsed).
fn cases() -> Vec<Case> {
    [of_conversations(), of_sessions(), of_records(), of_traces()].into_iter().flatten().collect()
}

fn of_conversations() -> Vec<Case> {
    vec![
        case(
            sharegpt_file,
            between(r#"{"id": "x"}"#),
            "an entry without `conversations`, which has `id`",
            "entry 2, line 3",
        ),
        case(
            sharegpt_file,
            between(r#"{"conversations": null}"#),
            "an array of turns, found null",
            "entry 2, line 3",
        ),
        case(
            sharegpt_file,
            between(r#"{"conversations": "text"}"#),
            "an array of turns, found a string",
            "entry 2, line 3",
        ),
        case(
            sharegpt_file,
            between(r#"{"conversations": [{"from":"human","value":"a"},{"from":"gpt","value":null}]}"#),
            "a turn whose `value` is null",
            "entry 2, line 3",
        ),
        case(
            sharegpt_file,
            between(r#"{"conversations": [{"from":"human","value":5},{"from":"gpt","value":"a"}]}"#),
            "a turn whose `value` is a number",
            "entry 2, line 3",
        ),
        case(
            sharegpt_file,
            between(r#"{"conversations": ["", {"from":"human","value":"a"}]}"#),
            "a turn that is a string",
            "entry 2, line 3",
        ),
        case(
            sharegpt_file,
            between(r#"{"conversations": [{"from":"human"},{}]}"#),
            "a turn without `value`",
            "entry 2, line 3",
        ),
        case(sharegpt_file, between("null"), "found null", "entry 2, line 3"),
        case(sharegpt_file, between("5"), "found a number", "entry 2, line 3"),
        case(sharegpt_file, between(r#"{"id": -Infinity}"#), "not JSON", "entry 2, line 3"),
        case(
            sharegpt_file,
            format!("{{\"conversations\": {GOOD_TURNS}}}\noops\n{{\"conversations\": {GOOD_TURNS}}}\n"),
            "not JSON",
            "line 2 column",
        ),
    ]
}

fn of_sessions() -> Vec<Case> {
    let sessions = |bad: &str| {
        let good = r#"[{"from":"human","value":"one two three four"},{"from":"gpt","value":"five six seven eight"},
            {"from":"human","value":"one two three four"},{"from":"gpt","value":"five six seven eight"}]"#;
        format!(
            "[{{\"conversations\": {good}}},\n{{\"conversations\": {bad}}},\n{{\"conversations\": {good}}}]"
        )
    };
    vec![
        case(turns, sessions("null"), "found null", "entry 2"),
        case(turns, sessions(r#"["", {"from":"human","value":"a"}]"#), "a turn that is a string", "entry 2"),
        case(
            turns,
            sessions(r#"[{"from":"human","value":"one two three four"},{"from":"gpt","value":null}]"#),
            "a turn whose `value` is null",
            "entry 2",
        ),
    ]
}

fn of_records() -> Vec<Case> {
    let lines = |bad: &str| {
        let good = "{\"prompt\": \"one two three four\", \"output_tokens\": 3}\n";
        format!("{good}{bad}\n{good}")
    };
    let questions = |bad: &str| format!("{{\"turns\": [\"a b\"]}}\n{bad}\n{{\"turns\": [\"c d\"]}}\n");
    let chats = |bad: &str| {
        let good =
            r#"{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}"#;
        format!("[{good},\n{bad},\n{good}]")
    };
    vec![
        case(custom, lines(r#"{"prompt": null}"#), "expected a string, found null", "line 2 column"),
        case(custom, lines(r#"{"text": "x"}"#), "missing field `prompt`", "line 2"),
        case(custom, lines("{this is not valid json}"), "not JSON", "line 2 column"),
        case(
            custom,
            lines(r#"{"messages":[{"role":"assistant","content":"no user turn"}]}"#),
            "no `prompt`, but the turns of a chat",
            "line 2",
        ),
        case(
            custom,
            "[{\"prompt\": \"a\"},\n{\"prompt\": 5},\n{\"prompt\": \"b\"}]".into(),
            "found a number",
            "entry 2, line 2",
        ),
        // Python's json.dumps writes NaN and Infinity.
        case(
            custom,
            "[{\"prompt\": \"a\"},\n{\"prompt\": \"x\", \"score\": NaN},\n{\"prompt\": \"b\"}]".into(),
            "not JSON",
            "entry 2, line 2 column",
        ),
        case(spec_bench, questions(r#"{"turns": null}"#), "found null", "line 2 column"),
        case(spec_bench, questions(r#"{"turns": []}"#), "`turns` is empty", "line 2"),
        case(
            hf,
            questions(r#"{"other": 1}"#).replace("a b", "a b c d").replace("c d\"", "c d e f\""),
            "`hf.text_column`",
            "line 2",
        ),
        case(conversations_file, chats(r#"{"id": 3}"#), "missing field `messages`", "entry 2, line 2"),
        case(conversations_file, chats("[]"), "found an array", "entry 2, line 2"),
    ]
}

fn of_traces() -> Vec<Case> {
    let rows = |bad: &str| {
        let good = "2023-11-16 18:15:46,374,44\n";
        format!("TIMESTAMP,ContextTokens,GeneratedTokens\n{good}{bad}\n{good}")
    };
    let burst = |bad: &str| {
        let good = "5,GPT-4,10,20,30,Conversation log\n";
        format!("Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n{good}{bad}\n{good}")
    };
    let timed = |bad: &str| {
        let good = "{\"timestamp\": 0, \"input_length\": 10, \"output_length\": 5}\n";
        format!("{good}{bad}\n{good}")
    };
    vec![
        case(azure, rows("2023-11-16 18:15:46,,44"), "`ContextTokens` must be a number of tokens", "line 3"),
        case(azure, rows("soon,374,44"), "`TIMESTAMP` must be a time", "line 3"),
        case(azure, rows("2023-11-16 18:15:46,374"), "2 fields instead of 3", "line 3"),
        case(azure, rows("2023-11-16 18:15:46,nan,44"), "`ContextTokens` must be", "line 3"),
        case(burstgpt, burst("5,GPT-4,,20,30,Conversation log"), "`Request tokens` must be", "line 3"),
        case(timed_trace, timed(r#"{"timestamp": 0, "output_length": 5}"#), "no `input_length`", "line 2"),
        case(
            timed_trace,
            timed(r#"{"timestamp": null, "input_length": 1, "output_length": 5}"#),
            "`timestamp` must be",
            "line 2",
        ),
        case(timed_trace, timed("[1]"), "an array", "line 2"),
    ]
}

pub(super) fn made(dataset: Dataset, strict: bool) -> Result<PreparedWorkload, DatasetError> {
    let draw = run_spec::DatasetSampling { shuffle: false, oversample: false };
    let wanted = run_spec::WorkloadSpec { strict, draw, ..run_spec::WorkloadSpec::new(dataset, 10) };
    prepare(&wanted, &mut RunRng::native(0), &bundled::tokenizer(), &|_| {})
}

/// A decompression bomb: 7 MB of gzip contain 785 million invalid entries.
#[test]
fn a_file_of_bad_rows_alone_is_not_read_to_its_end() {
    let files = Files::new();
    let text = format!("[{}0]", "0,".repeat(200_000));
    let error = made(sharegpt_file(files.file("zeros.json", &text)), false).unwrap_err().to_string();
    assert!(error.contains("entry 100000"), "{error}");
    let text = "0\n".repeat(200_000);
    let error = made(custom(files.file("zeros.jsonl", &text)), false).unwrap_err().to_string();
    assert!(error.contains("line 100000"), "{error}");
}

#[test]
fn a_bad_row_costs_the_row_and_is_counted() {
    let files = Files::new();
    for (number, Case { dataset, content, used, fault: (fault, count), place }) in
        cases().into_iter().enumerate()
    {
        let path = files.file(&format!("{number}.json"), &content);
        let workload =
            made(dataset(path.clone()), false).unwrap_or_else(|error| panic!("{content}: {error}"));
        let provenance = &workload.provenance;
        let bad = &provenance.dropped.malformed;
        assert_eq!(sessions::session_count(workload.requests.all()), used, "{content}");
        assert_eq!((provenance.candidates, bad.total()), (used + count, count), "{content}: {bad}");
        assert!(bad.to_string().contains(fault), "{content}: {bad}");
        assert!(provenance.notes()[0].starts_with("1 of 3 rows of the dataset was skipped"), "{content}");

        let error = made(dataset(path.clone()), true).expect_err(&content).to_string();
        assert!(error.starts_with(&format!("{}: {place}", path.display())), "{content}: {error}");
        assert!(error.contains(fault), "{content}: {error}");

        // The statistics report the same counts.
        let stats = dataset_stats::stats(&dataset(path), false, &bundled::tokenizer(), &|_| {});
        let stats = stats.unwrap_or_else(|error| panic!("{content}: {error}"));
        assert_eq!(
            (stats.conversations, stats.dropped.malformed.total()),
            (used + count, count),
            "{content}"
        );
    }
}

/// Formats with several accepted variants: SGLang PR #15057, NVIDIA-NeMo/Automodel PR #2375, guidellm PR #305,
/// ai-dynamo/aiperf PR #798, OpenAI's fine-tuning format.
#[test]
fn roles_messages_and_lines_are_read_and_system_turns_told() {
    let files = Files::new();
    let said = "please say how a bicycle stays upright";
    let chat = |value: &str, who: [&str; 3]| -> String {
        let [role, user, model] = who;
        format!(
            r#"[{{"{role}": "{user}", "{value}": "{said}"}}, {{"{role}": "{model}", "{value}": "{said}"}}]"#
        )
    };
    let openai = ["role", "user", "assistant"];
    let sharegpt = ["from", "human", "gpt"];
    let system =
        |role: &str, value: &str| format!(r#"{{"{role}": "system", "{value}": "you are always kind"}}"#);
    let behind = |system: String, chat: String| chat.replacen('[', &format!("[{system}, "), 1);
    for (line, prompt, system_prompts) in [
        (format!(r#"{{"conversations": {}}}"#, chat("value", sharegpt)), said, 0),
        (format!(r#"{{"conversations": {}}}"#, chat("content", openai)), said, 0),
        (format!(r#"{{"conversations": {}}}"#, chat("value", openai)), said, 0),
        (format!(r#"{{"messages": {}}}"#, chat("content", openai)), said, 0),
        (format!(r#"{{"conversation": {}, "id": 1}}"#, chat("value", sharegpt)), said, 0),
        (
            format!(r#"{{"messages": {}}}"#, behind(system("role", "content"), chat("content", openai))),
            said,
            0,
        ),
        (
            format!(r#"{{"conversations": {}}}"#, behind(system("from", "value"), chat("value", sharegpt))),
            "you are always kind",
            1,
        ),
        (
            format!(r#"{{"messages": {}}}"#, chat("content", openai))
                .replace(&format!("\"{said}\""), &format!(r#"[{{"type": "text", "text": "{said}"}}]"#)),
            said,
            0,
        ),
    ] {
        for content in [format!("{line}\n"), format!("[{line}]")] {
            let workload = made(sharegpt_file(files.file("x.json", &content)), true);
            let workload = workload.unwrap_or_else(|error| panic!("{content}: {error}"));
            assert_eq!(workload.requests.kept()[0].content.as_text(), Some(prompt), "{content}");
            assert_eq!(workload.provenance.system_prompts, system_prompts, "{content}");
            assert_eq!(workload.provenance.notes().len(), system_prompts, "{content}");
        }
    }
}

#[test]
fn a_file_without_a_good_row_is_refused_with_its_faults_counted() {
    let files = Files::new();
    let content = "{\"prompt\": null}\n{\"prompt\": null}\n{\"text\": \"x\"}\n";
    let error = made(custom(files.file("x.jsonl", content)), false).unwrap_err().to_string();
    assert!(error.contains("none of 3 entries can be used"), "{error}");
    assert!(error.contains("2 expected a string, found null (first: line 1"), "{error}");
    assert!(error.contains("1 missing field `prompt` (first: line 3"), "{error}");
    let content = "TIMESTAMP,ContextTokens,GeneratedTokens\nx,,\n";
    let error = made(azure(files.file("x.csv", content)), false).unwrap_err().to_string();
    assert!(error.contains("none of 1 rows can be sent") && error.contains("`TIMESTAMP` must be"), "{error}");
}

/// Session traces of aiperf (PRs #273, #299), and files with texts in place of lengths, give an error that names them.
/// Their rows are not skipped one by one.
#[test]
fn a_trace_of_another_kind_is_refused_by_its_field() {
    let files = Files::new();
    let good = r#"{"session_id": "s1", "timestamp": 0, "input_length": 300, "output_length": 40}"#;
    for (line, expected) in [
        (
            r#"{"session_id": "s1", "delay": 2000, "input_length": 150, "output_length": 20}"#,
            "no `timestamp`, but `delay`",
        ),
        (
            r#"{"timestamp": 500, "text_input": "How far?", "output_length": 16}"#,
            "no `input_length`, but `text_input`",
        ),
        (
            r#"{"timestamp": 500, "messages": [], "output_length": 16}"#,
            "but `messages`: the file holds chats",
        ),
        (r#"{"timestamp": 500, "prompt": "x", "output_length": 16}"#, "but `prompt`: the file holds prompts"),
    ] {
        let path = files.file("x.jsonl", format!("{good}\n{line}\n"));
        let error = made(timed_trace(path), false).unwrap_err().to_string();
        assert!(error.contains("line 2: ") && error.contains(expected), "{error}");
    }
}
