use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::*;
use crate::dataset::bundled;
use crate::model::request::{Content, Request};
use crate::model::run_spec::{TraceColumns, TraceKind, TraceLengths, TraceWindow};
use crate::testing::datasets;
use crate::tokenizer::Tokenizer;

const SECOND: Duration = Duration::from_secs(1);

fn trace(kind: TraceKind, path: impl Into<PathBuf>) -> Trace {
    let mut trace = datasets::trace(kind, path);
    trace.columns.hashes = (kind == TraceKind::TimedTrace).then(|| "hash_ids".to_owned());
    trace
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces").join(name)
}

fn mooncake() -> Trace {
    Trace { unit_s: 0.001, ..trace(TraceKind::TimedTrace, fixture("mooncake.jsonl")) }
}

fn with(trace: &Trace, tokenizer: &Tokenizer, num_prompts: usize) -> Result<PreparedWorkload, DatasetError> {
    prepare(
        trace,
        &PrepareContext { seed: 3, ..PrepareContext::plain(num_prompts, tokenizer) },
        &RunRng::native(3),
    )
}

fn all(trace: &Trace) -> PreparedWorkload {
    with(trace, &Tokenizer::Estimate, usize::MAX).unwrap()
}

fn file(content: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content.as_ref()).unwrap();
    file
}

/// Prepares the workload of a file with this content.
fn of(kind: TraceKind, content: &str) -> PreparedWorkload {
    let file = file(content);
    all(&trace(kind, file.path()))
}

/// The prompt and output length of each request.
fn lengths(workload: &PreparedWorkload) -> Vec<(u32, u32)> {
    workload.requests.kept().iter().map(|request| (request.prompt_tokens, request.max_tokens)).collect()
}

fn seconds(workload: &PreparedWorkload) -> Vec<f64> {
    workload.arrivals.as_ref().unwrap().iter().map(|at| at.as_secs_f64()).collect()
}

fn text(workload: &PreparedWorkload, index: usize) -> &str {
    workload.requests.kept()[index].content.as_text().unwrap()
}

#[test]
fn azure_rows_come_at_their_times_with_their_lengths() {
    let workload = all(&trace(TraceKind::Azure, fixture("azure-2023.csv")));
    assert_eq!(lengths(&workload)[..3], [(374, 44), (396, 109), (879, 55)]);
    let expected = [0.0, 4.314_579, 4.541_877];
    assert!(seconds(&workload).iter().zip(expected).all(|(at, expected)| (at - expected).abs() < 1e-9));
    let week = all(&trace(TraceKind::Azure, fixture("azure-2024.csv")));
    assert_eq!(lengths(&week)[9], (2688, 366));
    assert!((seconds(&week)[9] - 604_799.994_297).abs() < 1e-6, "{:?}", seconds(&week));
}

#[test]
fn burstgpt_comes_at_its_times_and_with_a_rate_it_is_vllms_source_of_lengths() {
    let timed = trace(TraceKind::Burstgpt, fixture("burstgpt.csv"));
    let workload = all(&timed);
    assert_eq!((seconds(&workload)[..3].to_vec(), lengths(&workload)[0]), (vec![0.0, 1.0, 2.0], (385, 27)));
    let sampled = Trace { timed: false, ..timed };
    let workload = with(&sampled, &Tokenizer::Estimate, 40).unwrap();
    assert_eq!((workload.arrivals, workload.requests.to_vec().len()), (None, 40));
    assert!(workload.provenance.repeated > 0 && workload.provenance.candidates < 40, "only GPT-4's rows");
    assert!(
        workload
            .requests
            .kept()
            .iter()
            .any(|request| (request.prompt_tokens, request.max_tokens) == (77, 426))
    );
}

#[test]
fn every_prompt_of_a_trace_has_exactly_its_length() {
    let tokenizer = bundled::tokenizer();
    for trace in [mooncake(), trace(TraceKind::Azure, fixture("azure-2023.csv"))] {
        let asked = all(&Trace { token_ids: false, ..trace.clone() });
        let workload = with(&trace, &tokenizer, usize::MAX).unwrap();
        assert_eq!((lengths(&workload), workload.provenance.inexact), (lengths(&asked), 0));
        for request in &workload.requests.to_vec() {
            let counted = tokenizer.count(request.content.as_text().unwrap()).unwrap();
            assert_eq!(counted, request.prompt_tokens);
        }
        let ids = with(&Trace { token_ids: true, ..trace }, &tokenizer, usize::MAX).unwrap();
        for request in &ids.requests.to_vec() {
            let Content::TokenIds(ids) = &request.content else { panic!("{request:?}") };
            assert_eq!(ids.len(), request.prompt_tokens as usize);
        }
    }
}

#[test]
fn prompts_share_exactly_the_blocks_whose_hashes_they_share() {
    let tokenizer = bundled::tokenizer();
    let Tokenizer::Local(local) = &tokenizer else { unreachable!() };
    let rows = all(&mooncake());
    let workload = with(&mooncake(), &tokenizer, usize::MAX).unwrap();
    let hashes: Vec<Vec<u64>> = std::fs::read_to_string(fixture("mooncake.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str::<BTreeMap<String, serde_json::Value>>(line).unwrap())
        .map(|row| serde_json::from_value(row["hash_ids"].clone()).unwrap())
        .collect();
    let tokens: Vec<Vec<u32>> =
        (0..hashes.len()).map(|index| local.encode(text(&workload, index)).unwrap()).collect();
    let common = |a: usize, b: usize| tokens[a].iter().zip(&tokens[b]).take_while(|(a, b)| a == b).count();
    let mut shared = 0;
    for a in 0..hashes.len() {
        for b in a + 1..hashes.len() {
            let blocks = hashes[a].iter().zip(&hashes[b]).take_while(|(a, b)| a == b).count();
            let shorter = tokens[a].len().min(tokens[b].len());
            // The last block may be partial. After the common blocks, a word may be equal by chance.
            let least = (blocks * 512).min(shorter);
            assert!((least..least + 4).contains(&common(a, b)), "{a} {b}: {blocks} {}", common(a, b));
            shared += usize::from(blocks > 0);
        }
    }
    assert!(shared > 10, "the fixture has shared prefixes");
    assert_eq!(lengths(&rows), lengths(&workload));
}

#[test]
fn prompts_whose_hashes_cover_too_little_are_filled_up_with_words_of_their_own() {
    let workload = of(
        TraceKind::TimedTrace,
        "{\"timestamp\": 0, \"input_length\": 40, \"output_length\": 5, \"hash_ids\": [7]}\n\
         {\"timestamp\": 1, \"input_length\": 40, \"output_length\": 5, \"hash_ids\": [7]}\n\
         {\"timestamp\": 2, \"input_length\": 40, \"output_length\": 5, \"hash_ids\": []}\n",
    );
    assert_eq!(lengths(&workload), [(40, 5); 3]);
    let words = |index| text(&workload, index).split(' ').collect::<Vec<_>>();
    assert_eq!(words(0)[..16], words(1)[..16]);
    assert!(words(0)[16..] != words(1)[16..] && words(0)[..16] != words(2)[..16]);
}

#[test]
fn a_hash_is_the_same_text_in_every_run_of_a_seed() {
    let seeded = |seed| {
        let job = PrepareContext { seed, ..PrepareContext::plain(5, &Tokenizer::Estimate) };
        prepare(&mooncake(), &job, &RunRng::native(seed)).unwrap().requests.to_vec()
    };
    assert_eq!(seeded(1), seeded(1));
    assert_ne!(seeded(1), seeded(2));
}

#[test]
fn times_count_from_the_first_row_in_their_order_at_the_asked_speed() {
    let file = file("timestamp,input_length,output_length\n105,3,1\n100,1,1\n105,4,1\n101,2,1\n");
    let plain = trace(TraceKind::Trace, file.path());
    let workload = all(&plain);
    assert_eq!(
        lengths(&workload),
        [(1, 1), (2, 1), (3, 1), (4, 1)],
        "equal times keep the order of the file"
    );
    assert_eq!(seconds(&workload), [0.0, 1.0, 5.0, 5.0]);
    assert_eq!(seconds(&all(&Trace { speed: 2.0, ..plain.clone() })), [0.0, 0.5, 2.5, 2.5]);
    assert_eq!(
        with(&plain, &Tokenizer::Estimate, 2).unwrap().requests.to_vec().len(),
        2,
        "the first two by time"
    );
    let untimed = all(&Trace { timed: false, ..plain });
    assert_eq!((lengths(&untimed)[0], &untimed.arrivals), ((3, 1), &None), "the order of the file");
}

#[test]
fn a_window_counts_from_the_earliest_row_wherever_it_stands() {
    let file = file("timestamp,input_length,output_length\n110,3,1\n100,1,1\n120,4,1\n105,2,1\n");
    let window = |from: u64, to: Option<u64>| TraceWindow {
        from: SECOND * from as u32,
        to: to.map(|to| SECOND * to as u32),
    };
    let cut = |window| all(&Trace { window: Some(window), ..trace(TraceKind::Trace, file.path()) });
    let workload = cut(window(5, Some(20)));
    assert_eq!((lengths(&workload), seconds(&workload)), (vec![(2, 1), (3, 1)], vec![0.0, 5.0]));
    assert_eq!(lengths(&cut(window(10, None))), [(3, 1), (4, 1)]);
    assert_eq!(cut(window(0, None)).provenance.candidates, 4);
}

#[test]
fn columns_are_mapped_in_csv_and_in_json_lines() {
    let columns = TraceColumns {
        timestamp: "t".into(),
        input: "in".into(),
        output: "out".into(),
        hashes: Some("h".into()),
        prefix: Some("s".into()),
        session: None,
        duration: None,
    };
    let csv = file(
        "s,h,out,in,t\nann,,5,40,2024-01-01T00:00:00Z\nann,,5,60,2024-01-01T00:00:01Z\nbob,\"[1, 2]\",5,40,2024-01-01T00:00:02Z\n",
    );
    let json = file(
        r#"{"s":"ann","h":null,"out":5,"in":40,"t":"2024-01-01T00:00:00Z"}
{"s":"ann","out":5,"in":60,"t":"2024-01-01T00:00:01Z"}
{"s":"bob","h":[1,2],"out":5,"in":40,"t":"2024-01-01T00:00:02Z"}"#,
    );
    let read = |file: &NamedTempFile| {
        all(&Trace { columns: columns.clone(), ..trace(TraceKind::Trace, file.path()) })
    };
    let workload = read(&csv);
    assert_eq!(workload.requests.to_vec(), read(&json).requests.to_vec());
    assert_eq!(seconds(&workload), [0.0, 1.0, 2.0]);
    assert!(text(&workload, 1).starts_with(text(&workload, 0)), "a text goes on");
    assert!(
        workload.requests.kept().iter().all(|request| request.turn().is_none()),
        "each is sent at its own time"
    );
}

/// Two sessions with interleaved rows, and a row without a session.
const SESSIONS: &str = "timestamp,input_length,output_length,who,took\n\
                        100,20,5,ann,2\n\
                        103,30,4,bob,1\n\
                        110,40,6,ann,3\n\
                        104,8,3,,1\n\
                        112,50,2,ann,1\n\
                        103.5,20,3,bob,1\n";

fn sessions(path: &Path) -> Trace {
    let plain = trace(TraceKind::Trace, path);
    let columns =
        TraceColumns { session: Some("who".into()), duration: Some("took".into()), ..plain.columns };
    Trace { columns, lengths: Some(TraceLengths::Prompt), ..plain }
}

/// The think times of each session, in seconds.
fn thinks(workload: &PreparedWorkload) -> Vec<Vec<f64>> {
    let parties = workload.requests.kept().chunk_by(|_, next| next.is_later_turn());
    let think = |request: &Request| request.turn().unwrap().think.as_secs_f64();
    parties.map(|turns| turns.iter().map(think).collect()).collect()
}

#[test]
fn rows_of_a_session_are_its_turns_and_it_comes_with_the_first() {
    let file = file(SESSIONS);
    let workload = all(&sessions(file.path()));
    // Ann's prompts have 20, 40 and 50 tokens, less the histories of 25 and then 46 tokens.
    let added = [(20, 5), (15, 6), (4, 2), (30, 4), (1, 3), (8, 3)];
    assert_eq!(lengths(&workload), added);
    assert_eq!(seconds(&workload), [0.0, 3.0, 4.0], "sessions, not rows");
    assert_eq!(thinks(&workload), [vec![0.0, 8.0, 0.0], vec![0.0, 0.0], vec![0.0]]);
    let fast = all(&Trace { speed: 4.0, ..sessions(file.path()) });
    assert_eq!((seconds(&fast), thinks(&fast)[0].clone()), (vec![0.0, 0.75, 1.0], vec![0.0, 2.0, 0.0]));
    let at_a_rate = all(&Trace { timed: false, ..sessions(file.path()) });
    assert_eq!(
        (&at_a_rate.arrivals, thinks(&at_a_rate)),
        (&None, thinks(&workload)),
        "users think all the same"
    );
}

/// Bob's second prompt has 20 tokens, but its history has 34. In `B32` of the fault reports, the turn sent one word
/// without any notice.
#[test]
fn a_turn_shorter_than_its_history_is_asked_about() {
    let file = file(SESSIONS);
    let of = |lengths| with(&Trace { lengths, ..sessions(file.path()) }, &Tokenizer::Estimate, 9);
    let error = of(None).unwrap_err().to_string();
    assert!(
        error.contains("line 7: `input_length` is 20, but its session has 34 tokens before it"),
        "{error}"
    );
    assert!(error.contains("`trace.lengths` turn") && error.contains("`trace.lengths` prompt"), "{error}");
    let turns = of(Some(TraceLengths::Turn)).unwrap();
    assert_eq!(lengths(&turns), [(20, 5), (40, 6), (50, 2), (30, 4), (20, 3), (8, 3)]);
}

#[test]
fn without_a_duration_users_think_all_the_time_between_two_rows() {
    let file = file(SESSIONS);
    let mut trace = sessions(file.path());
    trace.columns.duration = None;
    assert_eq!(thinks(&all(&trace)), [vec![0.0, 10.0, 2.0], vec![0.0, 0.5], vec![0.0]]);
}

#[test]
fn so_many_sessions_are_wanted_and_a_window_cuts_their_rows() {
    let file = file(SESSIONS);
    let two = with(&sessions(file.path()), &Tokenizer::Estimate, 2).unwrap();
    assert_eq!(thinks(&two).iter().map(Vec::len).collect::<Vec<_>>(), [3, 2]);
    let window = TraceWindow { from: SECOND * 4, to: None };
    let late = all(&Trace { window: Some(window), ..sessions(file.path()) });
    assert_eq!((lengths(&late), seconds(&late)), (vec![(8, 3), (40, 6), (4, 2)], vec![0.0, 6.0]));
}

#[test]
fn what_is_said_and_answered_in_a_session_is_one_text_of_exactly_its_length() {
    let (file, tokenizer) = (file(SESSIONS), bundled::tokenizer());
    let workload = with(&sessions(file.path()), &tokenizer, 9).unwrap();
    assert_eq!(workload.provenance.inexact, 0);
    let whole = with(&Trace { whole_turns: true, ..sessions(file.path()) }, &tokenizer, 9).unwrap();
    assert_eq!(lengths(&whole), [(20, 5), (40, 6), (50, 2), (30, 4), (20, 3), (8, 3)], "as in the trace");
    let turn = |index: usize| workload.requests.kept()[index].turn().unwrap();
    let said = format!("{}{} {}", text(&workload, 0), turn(0).answer.as_deref().unwrap(), text(&workload, 1));
    assert_eq!(said, text(&whole, 1), "the history and what is added are the whole prompt");
    assert_eq!(tokenizer.count_plain(turn(0).answer.as_deref().unwrap()).unwrap(), 5);
}

#[test]
fn a_session_column_that_is_not_there_or_a_duration_that_is_none_is_told() {
    let told = |content: &str| {
        let file = file(content);
        let job = PrepareContext { strict: true, ..PrepareContext::plain(9, &Tokenizer::Estimate) };
        prepare(&sessions(file.path()), &job, &RunRng::native(3)).unwrap_err().to_string()
    };
    let error = told("timestamp,input_length,output_length,took\n1,2,3,4\n");
    assert!(error.contains("no column `who`") && error.contains("`trace.columns`"), "{error}");
    let error = told(&SESSIONS.replace("bob,1", "bob,soon"));
    assert!(error.contains("line 3") && error.contains("`took` must be a length of time"), "{error}");
}

#[test]
fn rows_without_a_token_are_dropped_and_counted() {
    let workload = of(TraceKind::Trace, "timestamp,input_length,output_length\n1,0,0\n2,5,0\n3,5,5\n");
    assert_eq!((workload.requests.to_vec().len(), workload.provenance.dropped.empty), (1, 2));
    assert_eq!(workload.provenance.candidates, 3);
    let file = file("timestamp,input_length,output_length\n1,0,0\n");
    let error = with(&trace(TraceKind::Trace, file.path()), &Tokenizer::Estimate, 9).unwrap_err().to_string();
    assert!(
        error.contains("none of 1 rows can be sent") && error.contains("no prompt or no output"),
        "{error}"
    );
}

/// The one-line error of a file that is read strictly.
fn error(kind: TraceKind, content: &[u8]) -> String {
    let file = file(content);
    let job = PrepareContext { strict: true, ..PrepareContext::plain(10, &Tokenizer::Estimate) };
    let error = prepare(&trace(kind, file.path()), &job, &RunRng::native(3)).unwrap_err().to_string();
    assert!(error.starts_with(&file.path().display().to_string()), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error.replace(&file.path().display().to_string(), "FILE")
}

#[test]
fn malformed_csv_is_told_with_place_and_cure() {
    let header = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
    let good = "2023-11-16 18:15:46.6805900,374,44\n";
    for (content, expected) in [
        (String::new(), "is empty"),
        (header.into(), "only a header"),
        ("a,b\n1,2\n".into(), "line 1: no column `ContextTokens` among: a, b"),
        (format!("{header}{good}soon,374,44\n"), "line 3: `TIMESTAMP` must be a time"),
        (
            format!("{header}2023-11-16 18:15:46,many,44\n"),
            "line 2: `ContextTokens` must be a number of tokens",
        ),
        (format!("{header}2023-11-16 18:15:46,-5,44\n"), "not `-5`"),
        (format!("{header}2023-11-16 18:15:46,5,99999999999\n"), "`GeneratedTokens`"),
        (format!("{header}{good}2023-11-16 18:15:46,374\n{good}"), "line 3: 2 fields instead of 3"),
        (format!("{header}{good}2023-11-16 18:1"), "line 3: the file ends in the middle"),
    ] {
        let error = error(TraceKind::Azure, content.as_bytes());
        assert!(error.contains(expected), "{content}: {error}");
    }
    let mut latin = format!("{header}{good}").into_bytes();
    latin.extend(b"2023-11-16 18:15:46,3\xe9,44\n");
    let text = error(TraceKind::Azure, &latin);
    assert!(text.contains("line 3: not UTF-8; convert the file"), "{text}");
    let wide: Vec<u8> = header.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let text = error(TraceKind::Azure, &wide);
    assert!(text.contains("no column `ContextTokens`") || text.contains("not UTF-8"), "{text}");
    let text = error(TraceKind::Burstgpt, b"Timestamp,Request tokens\n1,2\n");
    assert!(text.contains("no column `Response tokens`") && text.contains("`trace.columns`"), "{text}");
}

#[test]
fn malformed_json_lines_are_told_with_place_and_cure() {
    let good = r#"{"timestamp": 0, "input_length": 10, "output_length": 5, "hash_ids": [1]}"#;
    for (content, expected) in [
        (String::new(), "is empty"),
        (format!("{good}\n[1]\n"), "line 2"),
        (format!("{good}\nnot json\n"), "line 2 column 2: not JSON"),
        (format!("{good}\n{}", &good[..40]), "line 2 column 40: the file ends in the middle"),
        (r#"{"timestamp": 0, "output_length": 5}"#.into(), "line 1: no `input_length`"),
        (good.replace("10", "\"ten\""), "`input_length` must be a number of tokens"),
        (good.replace(": 0,", ": null,"), "`timestamp` must be a time"),
        (good.replace("[1]", "{}"), "`hash_ids` must be a list of hashes"),
        (good.replace("[1]", "[[1]]"), "`hash_ids` must be a list of hashes"),
    ] {
        let error = error(TraceKind::TimedTrace, content.as_bytes());
        assert!(error.contains(expected), "{content}: {error}");
    }
    let error = error(TraceKind::TimedTrace, b"{\"timestamp\": \"\xff\"}\n");
    assert!(error.contains("line 1") && error.contains("not UTF-8"), "{error}");
}

#[test]
fn a_csv_line_without_end_is_refused_before_it_fills_the_memory() {
    let mut content = b"timestamp,input_length,output_length\n".to_vec();
    content.resize(content.len() + (3 << 20), b'1');
    let text = error(TraceKind::Trace, &content);
    assert!(text.contains("line 2") && text.contains("1 MiB"), "{text}");
}

#[test]
fn times_that_no_clock_can_tell_apart_are_no_panic() {
    let file = file("timestamp,input_length,output_length\n-9e18,1,1\n9e18,2,1\n");
    let trace = trace(TraceKind::Trace, file.path());
    let error = with(&trace, &Tokenizer::Estimate, usize::MAX).err().unwrap().to_string();
    assert!(error.contains("line 3") && error.contains("106751991167301 days apart on average"), "{error}");
    assert_eq!(all(&Trace { speed: 1e30, ..trace }).requests.to_vec().len(), 2);
}

#[test]
fn a_column_that_is_there_twice_is_refused_only_if_it_is_read() {
    let rows = |header: &str| file(format!("{header}\n0,1,2,3\n1,4,5,6\n"));
    let twice = rows("timestamp,input_length,output_length,input_length");
    let error =
        with(&trace(TraceKind::Trace, twice.path()), &Tokenizer::Estimate, 2).err().unwrap().to_string();
    assert!(error.contains("line 1: 2 columns are called `input_length`"), "{error}");
    let unread = rows("timestamp,input_length,output_length,timestamps");
    assert_eq!(all(&trace(TraceKind::Trace, unread.path())).requests.to_vec().len(), 2);
}
