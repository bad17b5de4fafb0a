use serde::Deserialize;

use super::*;

fn chat(template: &str) -> ChatConfig {
    let tokens = json!({"bos_token": "<s>", "eos_token": "</s>"}).as_object().unwrap().clone();
    ChatConfig { template: template.into(), tokens, origin: "x.json".into() }
}

fn render(template: &str, text: &str) -> Result<String, String> {
    let rendered =
        ChatTemplate::new(&chat(template), &Map::new()).and_then(|template| template.render_user(text));
    rendered.map_err(|error| error.to_string())
}

/// A real model's template, read from its tokenizer_config.json.
fn model(name: &str) -> ChatConfig {
    let json = match name {
        "minimind" => include_str!("../../../tests/fixtures/chat-templates/minimind.json"),
        "phi-3-vision" => include_str!("../../../tests/fixtures/chat-templates/phi-3-vision.json"),
        "qwen2.5" => include_str!("../../../tests/fixtures/chat-templates/qwen2.5.json"),
        other => panic!("no template of {other}"),
    };
    let mut config: Map<String, Value> = serde_json::from_str(json).unwrap();
    let template = config.remove("chat_template").unwrap();
    config.retain(|_, token| token.is_string());
    ChatConfig { template: template.as_str().unwrap().into(), tokens: config, origin: name.into() }
}

#[derive(Deserialize)]
struct Rendered {
    model: String,
    messages: Vec<Value>,
    kwargs: Map<String, Value>,
    text: String,
}

#[test]
fn the_templates_of_real_models_render_as_in_python() {
    let fixtures = include_str!("../../../tests/fixtures/chat-templates/rendered.json");
    let cases: Vec<Rendered> = serde_json::from_str(fixtures).unwrap();
    assert_eq!(cases.len(), 18);
    for case in cases {
        let template = ChatTemplate::new(&model(&case.model), &case.kwargs).unwrap();
        assert_eq!(template.render(&case.messages).unwrap(), case.text, "{}, {:?}", case.model, case.kwargs);
    }
}

#[test]
fn blocks_take_their_line_along_and_special_tokens_have_names() {
    let template = "{% for message in messages %}\n    {% if true %}\n{{ bos_token + message['content'] }}\n    {% endif %}\n{% endfor %}";
    assert_eq!(render(template, "a & <b>").unwrap(), "<s>a & <b>\n");
}

#[test]
fn the_keyword_arguments_are_variables_and_win() {
    let kwargs = json!({"thinking": true, "add_generation_prompt": false}).as_object().unwrap().clone();
    let template =
        ChatTemplate::new(&chat("{{ thinking }} {{ add_generation_prompt }} {{ eos_token }}"), &kwargs);
    assert_eq!(template.unwrap().render_user("x").unwrap(), "True False </s>");
}

#[test]
fn marks_of_what_is_trained_on_are_seen_through() {
    let template = "a {%- generation -%} b {{ messages[0].content }}{% endgeneration %} c";
    assert_eq!(render(template, "x").unwrap(), "ab x c");
}

#[test]
fn json_is_written_as_python_writes_it() {
    let text = render("{{ messages | tojson }}", "<é>").unwrap();
    assert_eq!(text, r#"[{"content": "<é>", "role": "user"}]"#);
    assert_eq!(render("{{ {'a': [1]} | tojson(indent=2) }}", "").unwrap(), "{\n  \"a\": [\n    1\n  ]\n}");
}

#[test]
fn the_date_is_today() {
    assert_eq!(render("{{ strftime_now('%Y') }}", "").unwrap(), jiff::Zoned::now().year().to_string());
}

#[test]
fn a_template_that_refuses_or_is_broken_is_told_in_one_line_with_its_cure() {
    for (template, expected) in [
        ("{% if %}", "x.json: line 1: "),
        ("{{ raise_exception('no such role') }}", "no such role"),
        ("{{ messages[0].content.nothing() }}", "x.json"),
        ("{{ missing.role }}", "x.json"),
    ] {
        let error = render(template, "hi").unwrap_err();
        assert!(error.contains(expected) && error.contains("`workload.form = text`"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
