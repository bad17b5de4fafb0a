//! `/v1/completions` and `/v1/chat/completions` as vLLM serves them.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{
    ask::{Ask, Call, Prompt, UsageReports, check_temperature, output_limit, read_object, served_model},
    chunks::{Chunks, Field, Kind, Piece, Usage, whole},
    endpoint::Endpoint,
    message::{Message, turns},
    refusal::{Dialect, Refusal},
    shape::{Fragment, Identity, Progress, Shape, Whole},
};
use crate::sim::{plan::Finish, spec::Spec};

/// Output tokens of a completion that does not say how many it wants, as in OpenAI's API.
pub(in crate::sim::api) const DEFAULT_COMPLETION: usize = 16;

pub(in crate::sim::api) static COMPLETIONS: Endpoint = Endpoint {
    paths: &["/v1/completions"],
    dialect: Dialect::OpenAi,
    read: |call, spec| read(Kind::Completions, call, spec),
    shape: |who, ask, spec| Box::new(OpenAi::new(Kind::Completions, who, ask, spec)),
    otherwise: Some(DEFAULT_COMPLETION),
    reasons: false,
};

pub(in crate::sim::api) static CHAT: Endpoint = Endpoint {
    paths: &["/v1/chat/completions"],
    dialect: Dialect::OpenAi,
    read: |call, spec| read(Kind::Chat, call, spec),
    shape: |who, ask, spec| Box::new(OpenAi::new(Kind::Chat, who, ask, spec)),
    otherwise: None,
    reasons: true,
};

/// The fields that matter here; others are accepted and ignored, as the text is made up anyway.
#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    prompt: Option<PromptField>,
    messages: Option<Vec<Message>>,
    tools: Option<Vec<Box<RawValue>>>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    min_tokens: Option<i64>,
    n: Option<i64>,
    temperature: Option<f64>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    cache_salt: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PromptField {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
    continuous_usage_stats: Option<bool>,
}

/// Reads a request in vLLM's order, with vLLM's words for what is wrong.
pub(in crate::sim::api) fn read(kind: Kind, call: &Call, spec: &Spec) -> Result<Ask, Refusal> {
    let body: Body = read_object(call)?;
    let stream = body.stream.unwrap_or(false);
    let usage = body.usage_reports(stream)?;
    check_temperature(body.temperature)?;
    body.check_number()?;
    let max_tokens = output_limit("max_tokens", body.max_completion_tokens.or(body.max_tokens), spec)?;
    let model = served_model(body.model, spec)?;
    let (endpoint, prompt) = match kind {
        Kind::Completions => (&COMPLETIONS, completion_prompt(body.prompt)?),
        Kind::Chat => (&CHAT, conversation(body.messages, body.tools)?),
    };
    Ok(Ask {
        max_tokens,
        min_tokens: usize::try_from(body.min_tokens.unwrap_or(0)).unwrap_or(0),
        ignore_eos: body.ignore_eos.unwrap_or(false),
        stream,
        usage,
        cache_salt: body.cache_salt,
        ..Ask::new(endpoint, model, prompt)
    })
}

impl Body {
    fn usage_reports(&self, stream: bool) -> Result<UsageReports, Refusal> {
        let Some(options) = &self.stream_options else { return Ok(UsageReports::Never) };
        if !stream {
            let message = "Stream options can only be defined when `stream=True`. (parameter=stream_options)";
            return Err(Refusal::bad("stream_options", message.to_owned()));
        }
        let asked = options.include_usage.unwrap_or(false);
        let continuous = options.continuous_usage_stats.unwrap_or(false);
        Ok(match (asked, continuous) {
            (false, _) => UsageReports::Never,
            (true, false) => UsageReports::AtTheEnd,
            (true, true) => UsageReports::WithEveryEvent,
        })
    }

    fn check_number(&self) -> Result<(), Refusal> {
        match self.n {
            None | Some(1) => Ok(()),
            Some(n) => {
                Err(Refusal::value("n", n, &format!("the simulator gives one answer, n must be 1, got {n}.")))
            }
        }
    }
}

fn completion_prompt(field: Option<PromptField>) -> Result<Prompt, Refusal> {
    let one_only = |count: usize| {
        Refusal::bad(
            "prompt",
            format!("the simulator takes one prompt per request, got {count}. (parameter=prompt)"),
        )
    };
    let prompt = match field {
        None => Prompt::Text(String::new()),
        Some(PromptField::Text(text)) => Prompt::Text(text),
        Some(PromptField::Tokens(tokens)) => Prompt::Tokens(tokens),
        Some(PromptField::Texts(texts)) => {
            let [text] = <[String; 1]>::try_from(texts).map_err(|texts| one_only(texts.len()))?;
            Prompt::Text(text)
        }
        Some(PromptField::TokenLists(lists)) => {
            let [tokens] = <[Vec<u32>; 1]>::try_from(lists).map_err(|lists| one_only(lists.len()))?;
            Prompt::Tokens(tokens)
        }
    };
    if prompt.is_empty() { Err(no_prompt()) } else { Ok(prompt) }
}

/// vLLM's words for a completion without anything to complete.
pub(in crate::sim::api) fn no_prompt() -> Refusal {
    let message = "Either prompt or prompt_embeds must be provided and non-empty. (parameter=prompt)";
    Refusal::bad("prompt", message.to_owned())
}

/// The conversation; tools stand in it as a turn of their own, as a chat template would write them.
fn conversation(
    messages: Option<Vec<Message>>,
    tools: Option<Vec<Box<RawValue>>>,
) -> Result<Prompt, Refusal> {
    match messages {
        None => Err(Refusal::shape("missing", "body.messages", "Field required", "<dict>")),
        Some(messages) if messages.is_empty() => {
            let message =
                "Cannot apply chat template to an empty conversation. Provide at least one message.";
            Err(Refusal::bad("", message.to_owned()))
        }
        Some(messages) => {
            let tools = tools.unwrap_or_default();
            let tools = tools.iter().map(|tool| Message::of_text("tools", tool.get().to_owned()));
            Ok(Prompt::Conversation(turns(tools.chain(messages))?))
        }
    }
}

/// An answer of either kind.
struct OpenAi {
    kind: Kind,
    chunks: Chunks,
    reports: UsageReports,
    /// Whether usage tells what the prefix cache had.
    details: bool,
    /// Whether an answer in one piece tells its usage.
    tells: bool,
    reasoning_field: &'static str,
    id: String,
    created: u64,
    model: String,
}

impl OpenAi {
    fn new(kind: Kind, who: &Identity, ask: &Ask, spec: &Spec) -> Self {
        let output = &spec.output;
        Self {
            kind,
            chunks: Chunks::new(kind, who, output.line_ending),
            reports: if output.usage { ask.usage } else { UsageReports::Never },
            details: output.prompt_tokens_details,
            tells: output.usage,
            reasoning_field: output.reasoning_field.name(),
            id: who.id.to_owned(),
            created: who.created,
            model: who.model.to_owned(),
        }
    }

    fn count(&self, so_far: &Progress) -> Usage {
        let cached = self.details.then_some(so_far.cached);
        Usage { prompt: so_far.prompt, completion: so_far.output, cached }
    }

    /// The counts on the way, which have no details.
    fn running(&self, so_far: &Progress) -> Option<Usage> {
        (self.reports == UsageReports::WithEveryEvent).then(|| Usage { cached: None, ..self.count(so_far) })
    }

    fn put(&self, out: &mut Vec<u8>, fragment: &Fragment, finish: Option<Finish>, so_far: &Progress) {
        let field = if fragment.thought { Field::Reasoning(self.reasoning_field) } else { Field::Text };
        let signed = finish.is_some() && self.reports == UsageReports::Never;
        let piece = Piece { field, text: fragment.text, finish, usage: self.running(so_far), signed };
        self.chunks.piece(out, &piece);
    }
}

impl Shape for OpenAi {
    fn open(&mut self, out: &mut Vec<u8>, so_far: &Progress) {
        if self.kind == Kind::Chat {
            let nothing_yet = Progress { output: 0, ..*so_far };
            self.chunks.role(out, self.running(&nothing_yet));
        }
    }

    fn fragment(&mut self, out: &mut Vec<u8>, fragment: &Fragment, so_far: &Progress) {
        self.put(out, fragment, None, so_far);
    }

    fn close(&mut self, out: &mut Vec<u8>, last: &Fragment, finish: Finish, so_far: &Progress) {
        self.put(out, last, Some(finish), so_far);
        if self.reports != UsageReports::Never {
            self.chunks.usage(out, self.count(so_far));
        }
        self.chunks.done(out);
    }

    fn error(&mut self, out: &mut Vec<u8>, refusal: &Refusal) {
        self.chunks.error(out, refusal);
        self.chunks.done(out);
    }

    fn malformed(&mut self, out: &mut Vec<u8>) {
        self.chunks.malformed(out);
    }

    fn whole(&mut self, answer: &Whole, so_far: &Progress) -> Vec<u8> {
        let who = Identity { id: &self.id, created: self.created, model: &self.model };
        whole(self.kind, &who, answer, self.tells.then(|| self.count(so_far)))
    }
}
