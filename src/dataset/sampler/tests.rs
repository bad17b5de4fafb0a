//! Tests of the requests from datasets that are read from files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::super::*;
use crate::model::request::{Content, Request};
use crate::model::run_spec::{CustomMedia, HfDataset, SonnetDataset, SpecBench, SpeedBench};
use crate::tokenizer::LocalTokenizer;

mod broken_files;

/// A tokenizer that gives each word one token, with a chat template beside it.
fn words(folder: &Path) -> Tokenizer {
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"?": 0, "word": 1}, "unk_token": "?"},
    });
    let template = "{% for m in messages %}<{{ m.role }}> {{ m.content }} {{ tail }}{% endfor %}";
    fs::write(folder.join("tokenizer.json"), json.to_string()).unwrap();
    fs::write(folder.join("tokenizer_config.json"), json!({ "chat_template": template }).to_string())
        .unwrap();
    LocalTokenizer::from_file(&folder.join("tokenizer.json"), "words".into()).unwrap().into()
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn prepare(&self, wanted: &run_spec::WorkloadSpec) -> Result<PreparedWorkload, String> {
        super::super::prepare(wanted, &mut RunRng::native(1), &words(self.0.path()), &|_| {})
            .map_err(|error| error.to_string())
    }
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

fn spec_bench(path: PathBuf) -> Dataset {
    Dataset::SpecBench(SpecBench { path, output_len: 7, category: None })
}

fn speed_bench(path: PathBuf) -> Dataset {
    let subset = "qualitative".into();
    Dataset::SpeedBench(SpeedBench { path, subset, output_len: 9, category: None, max_input_len: None })
}

fn hf(path: PathBuf) -> HfDataset {
    HfDataset { path, subset: None, split: None, output_len: None, name: None, text_column: None }
}

fn media(path: PathBuf) -> CustomMedia {
    CustomMedia { path, output_len: Some(5), inline: false }
}

fn sonnet(path: Option<PathBuf>) -> SonnetDataset {
    SonnetDataset { path, input_len: 550, output_len: 150, prefix_len: 200 }
}

fn texts(workload: &PreparedWorkload) -> Vec<&str> {
    let mut texts: Vec<&str> =
        workload.requests.kept().iter().map(|request| request.content.as_text().unwrap()).collect();
    texts.sort_unstable();
    texts
}

/// The content of a request's only message.
fn message(request: &Request) -> &Value {
    let Content::Messages(messages) = &request.content else { panic!("{request:?}") };
    assert_eq!((messages.len(), &messages[0]["role"]), (1, &Value::from("user")));
    &messages[0]["content"]
}

#[test]
fn spec_bench_sends_the_first_turns_of_a_category() {
    let files = Files::new();
    let question = |category: &str, first: &str| json!({"category": category, "turns": [first, "and then?"]});
    let data = lines(&[question("a", "one two"), question("b", "three"), question("a", "four five six")]);
    let path = files.file("question.jsonl", data);
    let all = files.prepare(&run_spec::WorkloadSpec::new(spec_bench(path.clone()), 3)).unwrap();
    assert_eq!(texts(&all), ["four five six", "one two", "three"]);
    assert!(all.requests.to_vec().iter().all(|request| request.max_tokens == 7));
    let only = |name: &str| {
        let category = Some(name.to_owned());
        let dataset = Dataset::SpecBench(SpecBench { path: path.clone(), output_len: 7, category });
        files.prepare(&run_spec::WorkloadSpec::new(dataset, 2))
    };
    assert_eq!(texts(&only("a").unwrap()), ["four five six", "one two"]);
    let error = only("c").unwrap_err();
    assert!(error.contains("no entry is of category `c`; there are: a, b"), "{error}");
}

#[test]
fn speed_bench_is_a_folder_of_subsets_in_either_shape() {
    let files = Files::new();
    let masked = "FULL BENCHMARK DATA SHOULD BE FETCHED FROM ELSEWHERE";
    let messages = |text: &str| json!({"messages": [{"role": "user", "content": text}], "category": "x"});
    files.file("qualitative.jsonl", lines(&[messages("one two three"), messages(masked)]));
    files.file("throughput_1k.json", json!([{"turns": ["four five", "six"], "multiturn": true}]).to_string());
    let first = files.prepare(&run_spec::WorkloadSpec::new(speed_bench(files.0.path().into()), 1)).unwrap();
    assert_eq!(texts(&first), ["one two three"]);
    assert_eq!((first.provenance.candidates, first.provenance.dropped.textless), (2, 1));
    let of = |subset: &str, max_input_len| {
        let path = files.0.path().into();
        let bench = SpeedBench { path, subset: subset.into(), output_len: 9, category: None, max_input_len };
        files.prepare(&run_spec::WorkloadSpec::new(Dataset::SpeedBench(bench), 1))
    };
    assert_eq!(texts(&of("throughput_1k", None).unwrap()), ["four five"]);
    assert_eq!(of("qualitative", Some(2)).unwrap().requests.to_vec()[0].prompt_tokens, 2);
    let error = of("throughput_8k", None).unwrap_err();
    assert!(error.contains("holds no throughput_8k.jsonl; `speed_bench.subset`"), "{error}");
}

#[test]
fn the_chat_template_is_applied_where_the_server_does_not_and_counts() {
    let files = Files::new();
    let path = files.file("q.jsonl", lines(&[json!({"turns": ["one two"]})]));
    let tail = json!({"tail": "end"}).as_object().unwrap().clone();
    let put = |form: PromptFormat| {
        let wanted =
            run_spec::WorkloadSpec { form, ..run_spec::WorkloadSpec::new(spec_bench(path.clone()), 1) };
        files.prepare(&wanted).unwrap().requests.to_vec().remove(0)
    };
    assert_eq!(put(PromptFormat::Text), Request::text("one two", 2, 7));
    assert_eq!(put(PromptFormat::Chat), Request::text("one two", 2, 7));
    assert_eq!(put(PromptFormat::Rendered { kwargs: tail }), Request::text("<user> one two end", 4, 7));
    let custom = files.file("c.jsonl", lines(&[json!({"prompt": "hi"})]));
    let dataset = Dataset::Custom { path: custom, output_len: Some(3) };
    let form = PromptFormat::Rendered { kwargs: Map::new() };
    let wanted = run_spec::WorkloadSpec { form: form.clone(), ..run_spec::WorkloadSpec::new(dataset, 1) };
    assert_eq!(files.prepare(&wanted).unwrap().requests.to_vec(), [Request::text("<user> hi ", 2, 3)]);
    let wanted = run_spec::WorkloadSpec { form, ..run_spec::WorkloadSpec::new(spec_bench(path), 1) };
    let bare = super::super::prepare(&wanted, &mut RunRng::native(1), &Tokenizer::Estimate, &|_| {});
    assert!(bare.unwrap_err().to_string().contains("`workload.form = text`"));
}

#[test]
fn bounds_leave_out_what_does_not_fit_and_say_why() {
    let files = Files::new();
    let turns = |n: usize| json!({"turns": [vec!["word"; n].join(" ")]});
    let path = files.file("q.jsonl", lines(&[turns(2), turns(5), turns(9), turns(30)]));
    let within = |bounds: LengthBounds| {
        let wanted =
            run_spec::WorkloadSpec { bounds, ..run_spec::WorkloadSpec::new(spec_bench(path.clone()), 4) };
        files.prepare(&wanted)
    };
    let bounds =
        LengthBounds { min_prompt_len: Some(3), max_prompt_len: Some(20), ..LengthBounds::default() };
    let both = within(LengthBounds { max_model_len: Some(12), ..bounds }).unwrap();
    assert!(both.requests.to_vec().iter().all(|request| request.prompt_tokens == 5), "5 + 7 fits into 12");
    let dropped = both.provenance.dropped;
    assert_eq!((dropped.short_prompt, dropped.long_prompt, dropped.long_total), (1, 1, 1));
    assert_eq!(both.provenance.repeated, 3);
    let none = within(LengthBounds { max_prompt_len: Some(1), ..LengthBounds::default() }).unwrap_err();
    assert!(none.contains("none of 4 entries can be used (dropped: 4 prompt too long)"), "{none}");
    assert!(none.contains("a usable one has a text and a prompt of at most 1 tokens"), "{none}");
}

#[test]
fn custom_images_are_parts_of_a_message_in_the_order_of_the_file() {
    let files = Files::new();
    let path = files.file(
        "i.jsonl",
        lines(&[json!({"content": [
            {"type": "text", "text": "one "},
            {"type": "image", "image": "/a.png"},
            {"type": "text", "text": "two"},
            {"type": "image_url", "image_url": {"url": "https://x/b.png", "detail": "low"}},
            {"type": "image_url", "image_url": "c.png"},
        ]})]),
    );
    let request = &files
        .prepare(&run_spec::WorkloadSpec::new(Dataset::CustomImage(media(path)), 1))
        .unwrap()
        .requests
        .to_vec()[0];
    let expected = json!([
        {"type": "text", "text": "one "},
        {"type": "image_url", "image_url": {"url": "file:///a.png"}},
        {"type": "text", "text": "two"},
        {"type": "image_url", "image_url": {"url": "https://x/b.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "file://c.png"}},
    ]);
    assert_eq!((message(request), request.prompt_tokens, request.max_tokens), (&expected, 2, 5));
}

#[test]
fn custom_images_are_sent_whole_when_that_is_asked_for() {
    let files = Files::new();
    let image = files.file("a.png", b"\x89PNG rest");
    let send = |name: &str| {
        let path = files.file("i.jsonl", lines(&[json!({"prompt": "see", "image_files": [name]})]));
        let media = CustomMedia { inline: true, ..media(path) };
        files.prepare(&run_spec::WorkloadSpec::new(Dataset::CustomImage(media), 1))
    };
    for name in [image.display().to_string(), format!("file://{}", image.display())] {
        let workload = send(&name).unwrap();
        assert_eq!(
            message(&workload.requests.kept()[0])[1]["image_url"]["url"],
            "data:image/png;base64,iVBORyByZXN0"
        );
    }
    assert!(send("data:image/png;base64,AA==").is_ok());
    let text = files.file("text.txt", "no image").display().to_string();
    for (name, expected) in [
        ("https://x/a.png", "download it"),
        ("/nowhere/a.png", "/nowhere/a.png: no such file; check `image_files`"),
        (text.as_str(), "is not a JPEG, PNG, GIF or WebP image"),
    ] {
        let error = send(name).unwrap_err();
        assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
        assert!(error.contains("i.jsonl: line 1: "), "{error}");
    }
}

#[test]
fn a_media_file_that_cannot_be_sent_is_named_with_its_line() {
    let files = Files::new();
    let image = files.file("a.png", b"\x89PNG rest").display().to_string();
    let audio = files.file("a.wav", b"RIFF\x04\0\0\0WAVEdata").display().to_string();
    let text = files.file("text.txt", "no media").display().to_string();
    fs::create_dir(files.path("sub")).unwrap();
    let folder = files.path("sub").display().to_string();
    let images = |name: &str| json!({"prompt": "see", "image_files": [name]});
    let recordings = |name: &str| json!({"audio": name});
    let refused = |name: &str, content: String, is_image: bool| {
        let media = CustomMedia { inline: true, ..media(files.file(name, content)) };
        let dataset = if is_image { Dataset::CustomImage(media) } else { Dataset::CustomAudio(media) };
        files.prepare(&run_spec::WorkloadSpec::new(dataset, 3)).unwrap_err()
    };
    for bad in ["/nowhere/a", text.as_str(), folder.as_str()] {
        // The blank line and the line without a record count too.
        let three = |good: Value, bad: Value| format!("{good}\n\n5\n{bad}\n{good}\n");
        let error = refused("i.jsonl", three(images(&image), images(bad)), true);
        assert!(error.contains(&format!("i.jsonl: line 4: {bad}: ")), "{error}");
        let error = refused("a.jsonl", three(recordings(&audio), recordings(bad)), false);
        assert!(error.contains(&format!("a.jsonl: line 4: {bad}: ")), "{error}");
        let array = json!([images(&image), 5, images(bad), images(&image)]).to_string();
        let error = refused("i.json", array, true);
        assert!(error.contains(&format!("i.json: entry 3, line 1: {bad}: ")), "{error}");
    }
}

#[test]
fn custom_recordings_are_files_or_parts_of_a_message() {
    let files = Files::new();
    let wav = b"RIFF\x04\0\0\0WAVEdata";
    let audio = files.file("a.wav", wav).display().to_string();
    let record = json!({"prompt": "write it down", "audio": audio, "output_tokens": 3});
    let path = files.file("a.jsonl", lines(&[record]));
    let send = |form: PromptFormat| {
        let media = CustomMedia { output_len: None, ..media(path.clone()) };
        let wanted =
            run_spec::WorkloadSpec { form, ..run_spec::WorkloadSpec::new(Dataset::CustomAudio(media), 1) };
        files.prepare(&wanted).unwrap().requests.to_vec().remove(0)
    };
    let file = Content::Audio { wav: wav.as_slice().into(), prompt: "write it down".into() };
    assert_eq!(send(PromptFormat::Text), Request::of(file, 3, 3));
    let expected = json!([
        {"type": "text", "text": "write it down"},
        {"type": "input_audio", "input_audio": {"data": "UklGRgQAAABXQVZFZGF0YQ==", "format": "wav"}},
    ]);
    assert_eq!(message(&send(PromptFormat::Chat)), &expected);
    files.file("a.wav", "ID3 an mp3");
    let media = media(path);
    let error = files.prepare(&run_spec::WorkloadSpec::new(Dataset::CustomAudio(media), 1)).unwrap_err();
    assert!(error.contains("a.wav: is not a WAV file; convert it: `ffmpeg"), "{error}");
}

#[test]
fn what_is_shown_with_a_conversation_goes_to_a_chat_only() {
    let files = Files::new();
    let entry = |extra: Value| {
        let mut entry = json!({"conversations": [{"value": "a b c d"}, {"value": "1 2 3 4"}]});
        entry.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!([entry]).to_string()
    };
    let send = |extra: Value, form: PromptFormat| {
        let path = Some(files.file("s.json", entry(extra)));
        let dataset = Dataset::Sharegpt { path, output_len: None };
        files
            .prepare(&run_spec::WorkloadSpec { form, ..run_spec::WorkloadSpec::new(dataset, 1) })
            .unwrap()
            .requests
            .to_vec()
            .remove(0)
    };
    let plain = Request::text("a b c d", 4, 4);
    assert_eq!(send(json!({"image": "x.jpg"}), PromptFormat::Text), plain);
    for nothing in [json!({}), json!({"image": null}), json!({"image": ""}), json!({"image": [1]})] {
        assert_eq!(send(nothing, PromptFormat::Chat), plain);
    }
    let image = send(json!({"image": "x.jpg", "video": "y.mp4"}), PromptFormat::Chat);
    assert_eq!(message(&image)[1], json!({"type": "image_url", "image_url": {"url": "file://x.jpg"}}));
    let video = send(json!({"video": "http://y.mp4"}), PromptFormat::Chat);
    assert_eq!(message(&video)[1], json!({"type": "video_url", "video_url": {"url": "http://y.mp4"}}));
}

#[test]
fn sonnet_prompts_share_their_beginning_and_keep_within_their_length() {
    let tokenizer = bundled::tokenizer();
    let make = |seed, n| {
        let wanted = run_spec::WorkloadSpec::new(Dataset::Sonnet(sonnet(None)), n);
        super::super::prepare(&wanted, &mut RunRng::native(seed), &tokenizer, &|_| {}).unwrap()
    };
    let workload = make(1, 300);
    let first = workload.requests.kept()[0].content.as_text().unwrap();
    for request in &workload.requests.to_vec() {
        let text = request.content.as_text().unwrap();
        assert!((450..=550).contains(&request.prompt_tokens), "{}", request.prompt_tokens);
        assert_eq!((request.prompt_tokens, request.max_tokens), (tokenizer.count(text).unwrap(), 150));
        let shared = text.bytes().zip(first.bytes()).take_while(|(a, b)| a == b).count();
        assert!(text.is_char_boundary(shared) && tokenizer.count(&text[..shared]).unwrap() > 150);
    }
    let distinct: std::collections::HashSet<_> = texts(&workload).into_iter().collect();
    assert_eq!(distinct.len(), 300);
    assert_eq!(workload.requests.kept()[..20], make(1, 20).requests.to_vec()[..]);
    assert_ne!(workload.requests.kept()[..20], make(2, 20).requests.to_vec()[..]);
}

#[test]
fn a_sonnet_that_cannot_have_its_length_is_told() {
    let files = Files::new();
    let path = files.file("poem.txt", "one two three four\nfive six seven eight\n");
    let make = |input_len, prefix_len| {
        let poem = SonnetDataset { input_len, prefix_len, ..sonnet(Some(path.clone())) };
        files.prepare(&run_spec::WorkloadSpec::new(Dataset::Sonnet(poem), 3))
    };
    assert_eq!(make(40, 20).unwrap().requests.to_vec().len(), 3);
    let error = make(5, 0).unwrap_err();
    assert!(error.contains("`sonnet.input_len` is 5"), "{error}");
    let error = make(14, 14).unwrap_err();
    assert!(error.contains("choose a larger `sonnet.input_len`"), "{error}");
}

#[test]
fn the_order_of_the_file_and_a_shorter_run_can_be_asked_for() {
    let files = Files::new();
    let records: Vec<Value> =
        (0..20).map(|n| json!({"turns": [format!("question number {n:02}")]})).collect();
    let path = files.file("q.jsonl", lines(&records));
    let draw = |shuffle, oversample, n| {
        let draw = run_spec::DatasetSampling { shuffle, oversample };
        let wanted =
            run_spec::WorkloadSpec { draw, ..run_spec::WorkloadSpec::new(spec_bench(path.clone()), n) };
        files.prepare(&wanted).unwrap()
    };
    let in_order = draw(false, true, 5);
    let first: Vec<&str> =
        in_order.requests.kept().iter().map(|request| request.content.as_text().unwrap()).collect();
    assert_eq!(
        first,
        [
            "question number 00",
            "question number 01",
            "question number 02",
            "question number 03",
            "question number 04"
        ]
    );
    assert_ne!(draw(true, true, 5).requests.to_vec(), in_order.requests.to_vec());
    assert_eq!(
        (draw(true, false, 30).requests.to_vec().len(), draw(true, true, 30).requests.to_vec().len()),
        (20, 30)
    );
}
