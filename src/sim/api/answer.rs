//! From a request to its answer: the decisions, and answers given at once. Streams are next door.

use std::{io, sync::Arc, time::Instant};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::{
    Parts,
    ask::{Ask, Endpoint, Message, Prompt},
    chunks::{Identity, Usage, Whole},
    info::unix_seconds,
    refusal::Refusal,
    stream as event_stream,
};
use crate::sim::{
    engine::{Job, Ticket},
    fault::FaultKind,
    plan::{Bounds, Plan},
    tokens::Markers,
    truth::{Story, TruthLog},
};

/// Output tokens of a completion that does not say how many it wants, as in OpenAI's API.
pub(super) const DEFAULT_COMPLETION: usize = 16;

/// An answer under way. Dropping it writes its story to the truth log.
pub(super) struct Answer {
    pub parts: Arc<Parts>,
    pub endpoint: Endpoint,
    pub ask: Ask,
    pub created: u64,
    pub plan: Plan,
    pub story: Story,
    /// The tokens to come; `None` if the request's fate is to get none.
    pub ticket: Option<Ticket>,
}

/// Reads a request, decides on its fate and answers it.
pub(super) async fn respond(
    parts: Arc<Parts>,
    endpoint: Endpoint,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Refusal> {
    let read = Instant::now();
    let ordinal = parts.next_ordinal();
    let ask = Ask::read(endpoint, headers, body, &parts.spec)?;
    let prompt = match prompt_tokens(&parts, &ask).await {
        Err(Unusable::AsItIs(refusal)) => return Err(refusal),
        // vLLM finds this out after it has opened the stream.
        Err(Unusable::InTheModel(refusal)) if ask.stream => {
            return Ok(event_stream::only_error(&parts, &refusal));
        }
        Err(Unusable::InTheModel(refusal)) => return Err(refusal),
        Ok(prompt) => prompt,
    };
    let fault = parts.spec.faults.fate(parts.spec.seed, ordinal);
    let story = Story {
        id: request_id(headers),
        ordinal,
        fault,
        stream: ask.stream,
        read_ns: parts.truth.stamp(read),
        prompt_tokens: prompt.len(),
        ..Story::default()
    };
    Answer::new(parts, endpoint, ask, Received { prompt, read, story }).give().await
}

/// What is known when a request has been read.
struct Received {
    prompt: Vec<u32>,
    read: Instant,
    story: Story,
}

/// Why a prompt cannot be served.
enum Unusable {
    AsItIs(Refusal),
    InTheModel(Refusal),
}

/// The prompt's tokens, or why it cannot be served.
pub(super) async fn prompt_of(parts: &Arc<Parts>, ask: &Ask) -> Result<Vec<u32>, Refusal> {
    let prompt = prompt_tokens(parts, ask).await;
    prompt.map_err(|(Unusable::AsItIs(refusal) | Unusable::InTheModel(refusal))| refusal)
}

impl From<Refusal> for Unusable {
    fn from(refusal: Refusal) -> Self {
        Self::AsItIs(refusal)
    }
}

async fn prompt_tokens(parts: &Arc<Parts>, ask: &Ask) -> Result<Vec<u32>, Unusable> {
    let tokens = match &ask.prompt {
        Prompt::Text(text) => parts.encode(text.clone(), Markers::Add).await?,
        Prompt::Conversation(messages) => {
            let text = parts.vocabulary.chat_prompt(messages.iter().map(Message::turn));
            parts.encode(text, Markers::Leave).await?
        }
        Prompt::Tokens(tokens) => {
            if let Some(id) = parts.vocabulary.first_unknown(tokens) {
                let message = format!("Token id {id} is out of vocabulary");
                return Err(Unusable::InTheModel(Refusal::bad("", message)));
            }
            tokens.clone()
        }
    };
    let limit = parts.spec.max_model_len;
    if tokens.len() >= limit {
        let least = tokens.len().min(limit + 1);
        let message = format!(
            "This model's maximum context length is {limit} tokens. However, your prompt contains at least {least} input \
             tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt."
        );
        return Err(Refusal::value("input_tokens", least, &message).into());
    }
    Ok(tokens)
}

/// The id the client gave, or a new one.
pub(super) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|id| id.to_str().ok());
    given.map_or_else(|| uuid::Uuid::new_v4().simple().to_string()[..16].to_owned(), str::to_owned)
}

impl Answer {
    fn new(parts: Arc<Parts>, endpoint: Endpoint, ask: Ask, received: Received) -> Self {
        let Received { prompt, read, story } = received;
        let room = parts.spec.max_model_len - prompt.len();
        let asked = ask.max_tokens.unwrap_or(match endpoint {
            Endpoint::Completions => DEFAULT_COMPLETION,
            Endpoint::Chat => room,
        });
        let eos_mean = parts.spec.output.eos_mean.filter(|_| !ask.ignore_eos);
        let bounds = Bounds { min: ask.min_tokens, max: asked.min(room), eos_mean };
        let plan = Plan::new(&parts.vocabulary, &prompt, bounds, parts.spec.seed);
        let never_runs = matches!(
            story.fault,
            Some(FaultKind::Error500 | FaultKind::Error429 | FaultKind::StallHeaders | FaultKind::Empty)
        );
        let ticket = (!never_runs).then(|| {
            let output = plan.tokens(&parts.vocabulary);
            parts.engine.submit(Job {
                prompt,
                output,
                finish: plan.finish,
                max_tokens: bounds.max,
                arrived: read,
            })
        });
        Self { parts, endpoint, ask, created: unix_seconds(), plan, story, ticket }
    }

    async fn give(self) -> Result<Response, Refusal> {
        match self.story.fault {
            Some(FaultKind::Error500) => Err(Refusal::internal()),
            Some(FaultKind::Error429) => Err(Refusal::too_many()),
            Some(FaultKind::StallHeaders) => {
                self.parts.closing().await;
                Err(Refusal::internal())
            }
            _ if self.ask.stream => Ok(event_stream::open(self)),
            _ => self.give_whole().await,
        }
    }

    /// The answer in one piece.
    async fn give_whole(mut self) -> Result<Response, Refusal> {
        self.collect().await?;
        match self.story.fault {
            Some(FaultKind::Stall) => {
                self.parts.closing().await;
                Err(Refusal::internal())
            }
            Some(FaultKind::ErrorEvent) => Err(Refusal::internal()),
            Some(FaultKind::Disconnect) => {
                let cut = stream::iter([Ok(Bytes::from_static(b"{\"id\":")), Err(broken())]);
                Ok(as_json(Body::from_stream(cut)))
            }
            Some(FaultKind::Malformed) => {
                let mut body = self.whole();
                body.truncate(body.len() / 2);
                Ok(as_json(body.into()))
            }
            _ => Ok(as_json(self.whole().into())),
        }
    }

    /// Waits for all tokens.
    async fn collect(&mut self) -> Result<(), Refusal> {
        let Some(ticket) = &mut self.ticket else { return Ok(()) };
        loop {
            // The tokens end early only when the server shuts down.
            let Some(event) = ticket.next().await else { return Err(Refusal::internal()) };
            self.story.output_tokens += 1;
            self.story.cached_tokens = event.cached;
            if event.last {
                self.story.step_ns.push(self.parts.truth.stamp(event.at));
                return Ok(());
            }
        }
    }

    fn whole(&mut self) -> Vec<u8> {
        let reasoning = if self.endpoint == Endpoint::Chat { self.parts.spec.output.reasoning } else { 0 };
        let (mut thought, mut said) = (String::new(), String::new());
        for index in 0..self.story.output_tokens {
            let part = if index < reasoning { &mut thought } else { &mut said };
            part.push_str(self.plan.text(&self.parts.vocabulary, index));
        }
        let finish = (self.story.fault != Some(FaultKind::NoTerminal)).then_some(self.plan.finish);
        let usage = self.parts.spec.output.usage.then(|| self.usage());
        let whole = Whole { reasoning: &thought, text: &said, finish, usage };
        let body = whole.json(self.endpoint, &self.identity());
        self.story.finish_reason = finish;
        let now = self.parts.truth.stamp(Instant::now());
        self.story.tokens_ns.push(now);
        self.story.first_token_ns = Some(now);
        body
    }

    /// Token counts so far.
    pub(super) fn usage(&self) -> Usage {
        Usage { prompt: self.story.prompt_tokens, completion: self.story.output_tokens }
    }

    /// Who the answer belongs to.
    pub(super) fn identity(&self) -> Identity<'_> {
        Identity { id: &self.story.id, created: self.created, model: &self.ask.model }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let truth: &TruthLog = &self.parts.truth;
        self.story.done_ns = truth.stamp(Instant::now());
        truth.append(&self.story);
    }
}

fn as_json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// What makes the connection break off.
pub(super) fn broken() -> io::Error {
    io::Error::other("the simulated server breaks the connection")
}
