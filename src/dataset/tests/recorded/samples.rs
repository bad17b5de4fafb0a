//! Compares requests from a trace and from a poem with those of the client.

use super::*;
use crate::model::dataset::larger_deviation;
use crate::model::run_spec::{PromptFormat, SonnetDataset, Trace, TraceColumns, TraceKind};

pub(super) fn burstgpt() -> Dataset {
    let [timestamp, input, output] = ["Timestamp", "Request tokens", "Response tokens"].map(str::to_owned);
    let columns =
        TraceColumns { timestamp, input, output, hashes: None, session: None, duration: None, prefix: None };
    Dataset::Trace(Trace {
        kind: TraceKind::Burstgpt,
        path: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/python/burst.csv").into(),
        columns,
        unit_s: 1.0,
        block_tokens: None,
        timed: false,
        speed: 1.0,
        window: None,
        token_ids: false,
        whole_turns: false,
        lengths: None,
    })
}

/// The client uses the row's length as the prompt's length. We count the tokens and report the difference.
#[test]
fn burstgpt_as_a_source_of_lengths() {
    for (case, num_prompts, load) in
        [(case!("burstgpt"), 12, at(6.0, 1.0)), (case!("burstgpt-few"), 40, at(8.0, 0.5))]
    {
        let (wanted, tokenizer) = (wanted(burstgpt(), num_prompts), case.tokenizer());
        for (seed, recorded) in &case.seeds {
            let mut dice = RunRng::new(RngKind::Python, *seed);
            let made = prepare(&wanted, &mut dice, &tokenizer, &|_| {}).unwrap();
            assert_eq!(made.requests.to_vec().len(), num_prompts);
            let (mut inexact, mut by) = (0, 0);
            for (request, (text, len, output, model)) in
                made.requests.to_vec().iter().zip(&recorded.requests.to_vec())
            {
                let own = request.own.as_ref().unwrap();
                assert_eq!((request.content.as_text(), request.max_tokens), (Some(&text[..]), *output));
                assert_eq!(own.model.as_ref(), Some(model));
                assert_eq!(request.prompt_tokens, tokenizer.count(text).unwrap());
                let off = i64::from(request.prompt_tokens) - i64::from(*len);
                inexact += usize::from(off != 0);
                by = larger_deviation(by, off);
            }
            let provenance = &made.provenance;
            assert_eq!((provenance.inexact, provenance.inexact_by), (inexact, by), "seed {seed}");
            compare_offsets(&load, &recorded.offsets, &mut dice);
        }
    }
}

/// The prompts from the poem for one tokenizer, length and seed.
#[derive(Deserialize)]
struct Sonnets {
    tokenizer: String,
    input_len: u32,
    prefix_len: u32,
    in_chat: bool,
    seed: u64,
    requests: Vec<(String, u32)>,
    next: usize,
}

#[test]
fn lines_of_a_poem() {
    let bytes = include_bytes!("../../../../tests/fixtures/python/sonnet.json.gz");
    let recorded: Vec<Sonnets> = serde_json::from_reader(GzDecoder::new(&bytes[..])).unwrap();
    assert_eq!(recorded.len(), 20);
    let template = "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}{% endfor %}\
                    {% if add_generation_prompt %}<|assistant|>{% endif %}";
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, bundled::tokenizer_json()).unwrap();
    let config = json!({ "eos_token": "<|endoftext|>", "chat_template": template });
    std::fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    for case in recorded {
        let tokenizer = match case.tokenizer.as_str() {
            "bundled" => bundled::tokenizer(),
            "special" => with_leading_special(),
            _ => LocalTokenizer::from_file(&path, "templated".into()).unwrap().into(),
        };
        let form = match (case.in_chat, case.tokenizer.as_str()) {
            (true, _) => PromptFormat::Chat,
            (false, "templated") => PromptFormat::Rendered { kwargs: Default::default() },
            (false, _) => PromptFormat::Text,
        };
        let Sonnets { input_len, prefix_len, .. } = case;
        let poem = SonnetDataset { path: None, input_len, output_len: 150, prefix_len };
        let wanted =
            WorkloadSpec { form, ..WorkloadSpec::new(Dataset::Sonnet(poem), case.requests.to_vec().len()) };
        let mut dice = RunRng::new(RngKind::Python, case.seed);
        let made = prepare(&wanted, &mut dice, &tokenizer, &|_| {}).unwrap();
        let ours = made.requests.kept().iter();
        let ours = ours.map(|request| (request.content.as_text().unwrap().to_owned(), request.prompt_tokens));
        assert_eq!(
            ours.collect::<Vec<_>>(),
            case.requests.to_vec(),
            "{} at seed {}",
            case.tokenizer,
            case.seed
        );
        assert_eq!(dice.python_mut().unwrap().random.below(1_000_000), case.next);
    }
}
