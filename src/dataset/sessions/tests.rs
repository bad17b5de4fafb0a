use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::dataset::tests::words;
use crate::dataset::{DatasetError, PreparedWorkload, bundled, prepare};
use crate::model::dataset::DropCounts;
use crate::model::rng::RunRng;
use crate::model::run_spec::{self, LengthBounds, RandomLengths, RandomTurns};

const LENGTHS: RandomLengths = RandomLengths {
    input_len: 60,
    output_len: 12,
    prefix_len: 0,
    input_range_ratio: 0.0,
    output_range_ratio: 0.0,
    token_ids: false,
};

const TURNS: RandomTurns = RandomTurns {
    first: LENGTHS,
    input_len: 20,
    turns: TurnCount { min: 3, max: 3 },
    global_ratio: 0.0,
    session_ratio: 0.0,
};

fn make(dataset: Dataset, num_prompts: usize) -> Result<PreparedWorkload, DatasetError> {
    let wanted = run_spec::WorkloadSpec::new(dataset, num_prompts);
    prepare(&wanted, &mut RunRng::native(7), &bundled::tokenizer(), &|_| {})
}

fn random_turns(wanted: RandomTurns, num_prompts: usize) -> Vec<Request> {
    make(Dataset::RandomTurns(wanted), num_prompts).unwrap().requests.to_vec()
}

fn file(content: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("in.json");
    fs::write(&path, content).unwrap();
    (folder, path)
}

fn conversations(content: &str, num_prompts: Option<usize>) -> Result<PreparedWorkload, String> {
    let (_folder, path) = file(content);
    let dataset = Dataset::Conversations { path, all: num_prompts.is_none() };
    let wanted = run_spec::WorkloadSpec {
        strict: true,
        ..run_spec::WorkloadSpec::new(dataset, num_prompts.unwrap_or(0))
    };
    prepare(&wanted, &mut RunRng::native(7), &bundled::tokenizer(), &|_| {})
        .map_err(|error| error.to_string())
}

/// The turn index and number of turns of each request.
fn places(requests: &[Request]) -> Vec<(u32, u32)> {
    requests.iter().map(|request| request.turn().map(|turn| (turn.index, turn.of)).unwrap()).collect()
}

#[test]
fn random_sessions_have_the_asked_turns_and_lengths() {
    let requests = random_turns(TURNS, 4);
    assert_eq!(places(&requests), [(0, 3), (1, 3), (2, 3)].repeat(4));
    for request in &requests {
        let expected = if request.turn().unwrap().index == 0 { 60 } else { 20 };
        assert_eq!((request.prompt_tokens, request.max_tokens), (expected, 12));
    }
    let between = random_turns(RandomTurns { turns: TurnCount { min: 1, max: 5 }, ..TURNS }, 60);
    for turns in 1..=5 {
        assert!(places(&between).contains(&(0, turns)), "none has {turns} turns");
    }
    assert_eq!(session_count((&between).into()), 60);
}

#[test]
fn prefixes_are_shared_by_all_and_by_the_turns_of_a_session() {
    let requests = random_turns(RandomTurns { global_ratio: 0.3, session_ratio: 0.3, ..TURNS }, 2);
    let text = |index: usize| requests[index].content.as_text().unwrap();
    let common =
        |a: usize, b: usize| text(a).bytes().zip(text(b).bytes()).take_while(|(a, b)| a == b).count();
    assert!(common(0, 1) > common(0, 3) && common(0, 3) > 0, "{} and {}", common(0, 1), common(0, 3));
    assert!(common(3, 5) > common(1, 4));
    assert!(requests.iter().all(|request| request.prompt_tokens.abs_diff(60) <= 3), "{requests:?}");
}

#[test]
fn sharegpt_sessions_have_all_turns_and_the_datasets_answers() {
    let turns = |turns| {
        let dataset = Dataset::SharegptTurns { path: None, output_len: None, turns };
        make(dataset, 40).unwrap()
    };
    let workload = turns(None);
    assert_eq!(session_count(workload.requests.all()), 40);
    assert_eq!((workload.provenance.candidates, workload.provenance.dropped.few_user_turns), (1150, 759));
    let tokenizer = bundled::tokenizer();
    for request in &workload.requests.to_vec() {
        let turn = request.turn().unwrap();
        assert!((2..=4).contains(&turn.of) && turn.index < turn.of);
        assert_eq!(tokenizer.count_plain(turn.answer.as_deref().unwrap()).unwrap(), request.max_tokens);
    }
    let two = turns(Some(TurnCount { min: 2, max: 2 }));
    assert!(places(&two.requests.to_vec()).iter().all(|(_, of)| *of == 2));
    assert_eq!(workload, turns(None), "the same seed gives the same");
}

/// A file in ShareGPT's format whose turns have these texts.
fn sharegpt(conversations: &[&[&str]]) -> (TempDir, PathBuf) {
    let said = |(index, text): (usize, &&str)| {
        let from = ["human", "gpt"][index % 2];
        json!({ "from": from, "value": text })
    };
    let entry =
        |texts: &&[&str]| json!({ "conversations": texts.iter().enumerate().map(said).collect::<Vec<_>>() });
    file(&Value::from_iter(conversations.iter().map(entry)).to_string())
}

const LONG: &str = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen";
const SHORT: &str = "one two three four five";

#[test]
fn a_sharegpt_session_is_dropped_when_a_turn_of_it_breaks_the_limits() {
    let whole: &[&str] = &[SHORT, SHORT, SHORT, SHORT];
    let conversations = [
        whole,
        &[SHORT, SHORT, LONG, SHORT],
        &[SHORT, SHORT, "two", SHORT],
        &[SHORT, SHORT, SHORT, "two"],
        &[SHORT, LONG],
    ];
    let (_folder, path) = sharegpt(&conversations);
    let within = |bounds: LengthBounds, num_prompts: usize| {
        let dataset = Dataset::SharegptTurns { path: Some(path.clone()), output_len: None, turns: None };
        let wanted = run_spec::WorkloadSpec { bounds, ..run_spec::WorkloadSpec::new(dataset, num_prompts) };
        prepare(&wanted, &mut RunRng::native(7), &words(), &|_| {}).map_err(|error| error.to_string())
    };
    let workload = within(
        LengthBounds { max_prompt_len: Some(9), ..LengthBounds::default() },
        run_spec::WorkloadSpec::ALL,
    )
    .unwrap();
    assert_eq!((session_count(workload.requests.all()), workload.provenance.candidates), (1, 5));
    let expected = DropCounts {
        few_user_turns: 1,
        long_prompt: 1,
        short_prompt: 1,
        short_output: 1,
        ..DropCounts::default()
    };
    assert_eq!((workload.provenance.dropped, workload.provenance.repeated), (expected, 0));
    assert_eq!(
        session_count(within(LengthBounds::default(), run_spec::WorkloadSpec::ALL).unwrap().requests.all()),
        2,
        "vLLM's limits are wider"
    );
    // The history counts only for the model's length limit.
    let model = |tokens| within(LengthBounds { max_model_len: Some(tokens), ..LengthBounds::default() }, 1);
    assert_eq!(model(20).map(|workload| session_count(workload.requests.all())), Ok(1));
    let error = model(19).unwrap_err();
    assert!(
        error.contains("none of 5 entries can be used") && error.contains("too long together"),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_list_of_conversations_is_taken_in_its_order() {
    let content = r#"[
        {"id": "a", "messages": [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."},
                                 {"role": "user", "content": "Three?"}, {"role": "assistant", "content": "Four."}]},
        {"id": "b", "messages": [{"role": "assistant", "content": "Hello."}]},
        {"id": "c", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Five?"},
                                 {"role": "assistant", "content": "Six."}]}]"#;
    let all = conversations(content, None).unwrap();
    assert_eq!(places(&all.requests.to_vec()), [(0, 2), (1, 2), (0, 1)]);
    assert_eq!((all.provenance.candidates, all.provenance.dropped.few_user_turns), (3, 1));
    assert_eq!(all.requests.to_vec()[1].content.as_text(), Some("Three?"));
    let Content::Messages(messages) = &all.requests.to_vec()[2].content else {
        panic!("{:?}", all.requests.to_vec()[2])
    };
    assert_eq!(messages[0]["content"], Value::from("Be brief."));
    let more = conversations(content, Some(5)).unwrap();
    assert_eq!(session_count(more.requests.all()), 5);
    assert!(more.provenance.repeated >= 3);
}

const DESCRIPTION: &str = r#"{"filetype": "generate_conversations", "num_conversations": 6,
    "prompt_input": {"num_turns": {"distribution": "uniform", "min": 3, "max": 6},
                     "common_prefix_num_tokens": {"distribution": "constant", "value": 100},
                     "prefix_num_tokens": {"distribution": "lognormal", "average": 80, "max": 200},
                     "num_tokens": {"distribution": "uniform", "min": 40, "max": 60}},
    "prompt_output": {"num_tokens": {"distribution": "uniform", "min": 8, "max": 16}}}"#;

#[test]
fn conversations_are_made_as_described() {
    let requests = conversations(DESCRIPTION, None).unwrap().requests.to_vec();
    assert_eq!(session_count((&requests).into()), 6);
    let tokenizer = bundled::tokenizer();
    let mut firsts = Vec::new();
    for request in &requests {
        let (text, turn) = (request.content.as_text().unwrap(), request.turn().unwrap());
        assert!((2..=3).contains(&turn.of) && (8..=16).contains(&request.max_tokens));
        if turn.index == 0 {
            firsts.push(text);
        } else {
            assert!((35..=65).contains(&tokenizer.count_plain(text).unwrap()), "{text}");
        }
    }
    let common = firsts[0].bytes().zip(firsts[1].bytes()).take_while(|(a, b)| a == b).count();
    let common = tokenizer.count_plain(&firsts[0][..common]).unwrap();
    assert!((90..=115).contains(&common), "{common} tokens are common");
    assert_eq!(requests, conversations(DESCRIPTION, None).unwrap().requests.to_vec());
    assert_eq!(session_count(conversations(DESCRIPTION, Some(9)).unwrap().requests.all()), 9);
}

#[test]
fn texts_are_cut_from_the_named_files() {
    let described = DESCRIPTION.replace("\"num_conv", "\"text_files\": [\"words.txt\"], \"num_conv");
    let (folder, path) = file(&described);
    let missing = make(Dataset::Conversations { path: path.clone(), all: true }, 0).unwrap_err();
    assert!(missing.to_string().contains("words.txt: no such file; check `text_files`"), "{missing}");
    fs::write(folder.path().join("words.txt"), "lorem ipsum dolor sit amet ".repeat(40)).unwrap();
    let requests = make(Dataset::Conversations { path, all: true }, 0).unwrap().requests.to_vec();
    assert!(requests.iter().all(|request| request.content.as_text().unwrap().contains("ipsum")));
}

#[test]
fn a_file_that_is_none_is_refused_with_its_place_and_its_cure() {
    let cases = [
        ("", "is empty"),
        ("[", "ends in the middle"),
        ("5", "expected an array"),
        ("[5]", "entry 1, line 1"),
        (r#"[{"id": "a"}]"#, "missing field `messages`"),
        (r#"[{"messages": [{"role": "assistant", "content": "x"}]}]"#, "none of 1 entries can be used"),
        (r#"{"filetype": "other", "num_conversations": 1}"#, "missing field `prompt_input`"),
        (&DESCRIPTION.replace("generate_conv", "x"), "`filetype` is `xersations`"),
        (&DESCRIPTION.replace("\"min\": 3", "\"min\": 30"), "`num_turns`: `uniform` from 30 to 6 is empty"),
        ("[{\"messages\": [{\"role\": \"\u{0}\"}]}]", "not JSON"),
    ];
    for (content, words) in cases {
        let error = conversations(content, None).unwrap_err();
        assert!(error.contains(words), "{content}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_last_sessions_are_split_off_whole() {
    let requests = random_turns(TURNS, 4);
    let (front, back) = split_last((&requests).into(), 1);
    assert_eq!((front.len(), back.len()), (9, 3));
    assert_eq!(split_last((&requests).into(), 0).1.len(), 0);
    assert_eq!(split_last((&requests).into(), 9).0.len(), 0);
}

#[test]
fn manners_are_the_same_for_the_same_seed() {
    let second = Duration::from_secs(1);
    let behavior = UserBehavior {
        think: Some(WaitTime::Exponential { mean: second }),
        cancel: Some(EarlyCancel { share: 0.25, after: WaitTime::Constant(second) }),
        whole_answers: true,
    };
    let behaved = |seed| {
        let mut workload = make(Dataset::RandomTurns(TURNS), 200).unwrap();
        apply_behavior(&mut workload, &behavior, seed).unwrap();
        workload.requests.to_vec()
    };
    let requests = behaved(1);
    assert_eq!(requests, behaved(1));
    assert_ne!(requests, behaved(2));
    let leaving = requests.iter().filter(|request| request.patience() == Some(second)).count();
    assert!((110..190).contains(&leaving), "{leaving} of 600 leave at a share of a quarter");
    for request in &requests {
        let turn = request.turn().unwrap();
        assert_eq!(turn.think.is_zero(), turn.index == 0, "nobody thinks before the first turn");
        assert_eq!(request.own.as_ref().unwrap().body["min_tokens"], 12);
    }
}

#[test]
fn who_says_nothing_of_manners_gets_none() {
    let mut workload = make(Dataset::Random(LENGTHS), 3).unwrap();
    let before = workload.clone();
    apply_behavior(&mut workload, &UserBehavior { think: None, cancel: None, whole_answers: true }, 0)
        .unwrap();
    assert_eq!(workload, before);
}
