//! From a request to its answer: the decisions, and answers given at once. Streams are next door.

use std::{io, ops::Range, sync::Arc, time::Instant};

use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::{
    Parts,
    ask::{Ask, Call, Prompt},
    endpoint::Endpoint,
    info::unix_seconds,
    refusal::Refusal,
    shape::{Fragment, Identity, Progress, Shape, Whole},
    stream as event_stream,
};
use crate::sim::{
    engine::{Event, Job, Ticket, Work},
    fault::FaultKind,
    plan::{Bounds, Plan},
    tokens::Markers,
    truth::{Entry, Story, prompt_hashes},
};

/// An answer under way. Dropping it writes its story to the truth log.
pub(super) struct Answer {
    pub parts: Arc<Parts>,
    pub ask: Ask,
    pub created: u64,
    pub plan: Plan,
    pub story: Entry,
    /// The tokens to come; `None` if the request's fate is to get none.
    pub ticket: Option<Ticket>,
    asked: Instant,
    first: Option<Instant>,
    latest: Instant,
}

/// Reads a request, decides on its fate and answers it.
pub(super) async fn respond(
    parts: Arc<Parts>,
    endpoint: &'static Endpoint,
    call: &Call<'_>,
) -> Result<Response, Refusal> {
    let read = Instant::now();
    let ordinal = parts.next_ordinal();
    let ask = (endpoint.read)(call, &parts.spec).map_err(|refusal| refusal.speaking(endpoint.dialect))?;
    let dialect = ask.endpoint.dialect;
    let prompt = match prompt_tokens(&parts, &ask).await {
        Err(Unusable::AsItIs(refusal)) => return Err(refusal.speaking(dialect)),
        // vLLM finds this out after it has opened the stream.
        Err(Unusable::InTheModel(refusal)) if ask.stream => {
            return Ok(event_stream::only_error(&parts, &ask, &refusal.speaking(dialect)));
        }
        Err(Unusable::InTheModel(refusal)) => return Err(refusal.speaking(dialect)),
        Ok(prompt) => prompt,
    };
    let story = Story {
        ordinal,
        fault: parts.spec.faults.fate(parts.spec.seed, ordinal),
        stream: ask.stream,
        read_ns: parts.truth.stamp(read),
        max_tokens: ask.max_tokens,
        ..story(&parts, call, &ask.model, [prompt.as_slice()])
    };
    let answered = Answer::new(parts, ask, Received { prompt, read, story }).give().await;
    answered.map_err(|refusal| refusal.speaking(dialect))
}

/// The beginning of a request's story: what it says of itself.
pub(super) fn story<'a>(
    parts: &Parts,
    call: &Call,
    model: &str,
    prompts: impl IntoIterator<Item = &'a [u32]> + Clone,
) -> Story {
    let spec = &parts.spec;
    let hashes = |prompt| prompt_hashes(prompt, spec.block_size, spec.truth_prompts);
    Story {
        id: call.id(),
        path: call.path.to_owned(),
        model: model.to_owned(),
        session: call.header("x-session-id").map(str::to_owned),
        prompt_tokens: prompts.clone().into_iter().map(<[u32]>::len).sum(),
        prompt_blocks: (spec.truth_prompts > 0).then(|| prompts.into_iter().flat_map(hashes).collect()),
        ..Story::default()
    }
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
        Prompt::Conversation(turns) => {
            parts.encode_all(parts.vocabulary.chat_prompt(turns), Markers::Leave).await?
        }
        Prompt::Segments(segments) => parts.encode_all(segments.clone(), Markers::Leave).await?,
        Prompt::Tokens(tokens) => {
            if let Some(id) = parts.vocabulary.first_unknown(tokens) {
                let message = format!("Token id {id} is out of vocabulary");
                return Err(Unusable::InTheModel(Refusal::bad("", message)));
            }
            tokens.clone()
        }
    };
    let limit = parts.spec.max_model_len;
    if tokens.len() >= limit { Err(too_long(&tokens, limit).into()) } else { Ok(tokens) }
}

/// vLLM's words for a prompt that leaves no room for an answer.
pub(super) fn too_long(tokens: &[u32], limit: usize) -> Refusal {
    let least = tokens.len().min(limit + 1);
    let message = format!(
        "This model's maximum context length is {limit} tokens. However, your prompt contains at least {least} input \
         tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt."
    );
    Refusal::value("input_tokens", least, &message)
}

impl Answer {
    fn new(parts: Arc<Parts>, ask: Ask, received: Received) -> Self {
        let Received { prompt, read, story } = received;
        let room = parts.spec.max_model_len - prompt.len();
        let asked = ask.max_tokens.or(ask.endpoint.otherwise).unwrap_or(room);
        let eos_mean = parts.spec.output.eos_mean.filter(|_| !ask.ignore_eos);
        let bounds = Bounds { min: ask.min_tokens, max: asked.min(room), eos_mean };
        let plan = Plan::new(&parts.vocabulary, &prompt, bounds, parts.spec.seed);
        let story = Entry::new(&parts.truth, story);
        let ticket = runs(story.fault).then(|| {
            let output = plan.tokens(&parts.vocabulary);
            parts.engine.submit(Job {
                prompt,
                output,
                work: Work::Generate { finish: plan.finish, max_tokens: bounds.max },
                arrived: read,
                adapter: parts.spec.is_adapter(&ask.model).then(|| ask.model.clone()),
                cache_salt: ask.cache_salt.clone(),
            })
        });
        Self {
            parts,
            ask,
            created: unix_seconds(),
            plan,
            story,
            ticket,
            asked: read,
            first: None,
            latest: read,
        }
    }

    async fn give(mut self) -> Result<Response, Refusal> {
        if let Err(refusal) = fail_early(&self.parts, self.story.fault).await {
            self.story.cancelled = false;
            return Err(refusal);
        }
        if self.ask.stream { Ok(event_stream::open(self)) } else { self.give_whole().await }
    }

    /// The answer in one piece.
    async fn give_whole(mut self) -> Result<Response, Refusal> {
        let fault = self.story.fault;
        if !self.collect().await || fault == Some(FaultKind::Stall) {
            self.parts.closing().await;
            self.story.cancelled = false;
            return Err(Refusal::internal());
        }
        self.story.cancelled = false;
        let lost = matches!(fault, Some(FaultKind::ErrorEvent | FaultKind::Disconnect));
        let body = if lost { Vec::new() } else { self.whole() };
        deliver(fault, body)
    }

    /// Waits for all tokens; says whether they came, which they do unless the server shuts down.
    async fn collect(&mut self) -> bool {
        let Some(mut ticket) = self.ticket.take() else { return true };
        loop {
            let Some(event) = ticket.next().await else { return false };
            self.note(&event);
            if event.last {
                self.story.step_ns.push(self.parts.truth.stamp(event.at));
                return true;
            }
        }
    }

    /// A token has come.
    pub(super) fn note(&mut self, event: &Event) {
        self.story.output_tokens += 1;
        self.story.cached_tokens = event.cached;
        self.first.get_or_insert(event.at);
        self.latest = event.at;
    }

    fn whole(&mut self) -> Vec<u8> {
        let finish = (self.story.fault != Some(FaultKind::NoTerminal)).then_some(self.plan.finish);
        let total = self.story.output_tokens;
        let turning = self.reasoning().min(total);
        let (reasoning, said) = (self.text(0..turning), self.text(turning..total));
        let whole =
            Whole { reasoning: &reasoning, said: self.fragment(&said, turning..total, false), finish };
        let body = self.shape().whole(&whole, &self.progress());
        self.story.finish_reason = finish;
        let now = self.parts.truth.stamp(Instant::now());
        self.story.tokens_ns.push(now);
        self.story.first_token_ns = Some(now);
        body
    }

    /// The shape that will write this answer.
    pub(super) fn shape(&self) -> Box<dyn Shape> {
        let who = Identity { id: &self.story.id, created: self.created, model: &self.ask.model };
        (self.ask.endpoint.shape)(&who, &self.ask, &self.parts.spec)
    }

    /// How many of the first tokens are reasoning.
    pub(super) fn reasoning(&self) -> usize {
        if self.ask.endpoint.reasons { self.parts.spec.output.reasoning } else { 0 }
    }

    /// The text of these tokens.
    pub(super) fn text(&self, range: Range<usize>) -> String {
        range.map(|index| self.plan.text(&self.parts.vocabulary, index)).collect()
    }

    /// These tokens with their text, as a shape takes them.
    pub(super) fn fragment<'a>(&'a self, text: &'a str, range: Range<usize>, thought: bool) -> Fragment<'a> {
        Fragment { text, thought, plan: &self.plan, vocabulary: &self.parts.vocabulary, range }
    }

    /// How far the answer has come.
    pub(super) fn progress(&self) -> Progress {
        let first = self.first.unwrap_or(self.latest);
        Progress {
            prompt: self.story.prompt_tokens,
            cached: self.story.cached_tokens,
            output: self.story.output_tokens,
            reasoned: self.story.output_tokens.min(self.reasoning()),
            prompt_time: first.saturating_duration_since(self.asked),
            output_time: self.latest.saturating_duration_since(first),
        }
    }
}

/// Whether a request of this fate gets as far as the engine.
pub(super) fn runs(fault: Option<FaultKind>) -> bool {
    !matches!(
        fault,
        Some(FaultKind::Error500 | FaultKind::Error429 | FaultKind::StallHeaders | FaultKind::Empty)
    )
}

/// What becomes of a request whose fate strikes before anything else does.
pub(super) async fn fail_early(parts: &Parts, fault: Option<FaultKind>) -> Result<(), Refusal> {
    match fault {
        Some(FaultKind::Error500) => Err(Refusal::internal()),
        Some(FaultKind::Error429) => Err(Refusal::too_many()),
        Some(FaultKind::StallHeaders) => {
            parts.closing().await;
            Err(Refusal::internal())
        }
        _ => Ok(()),
    }
}

/// An answer in one piece, or what its fate makes of it.
pub(super) fn deliver(fault: Option<FaultKind>, mut body: Vec<u8>) -> Result<Response, Refusal> {
    match fault {
        Some(FaultKind::ErrorEvent) => return Err(Refusal::internal()),
        Some(FaultKind::Disconnect) => {
            let cut = stream::iter([Ok(Bytes::from_static(b"{\"id\":")), Err(broken())]);
            return Ok(as_json(Body::from_stream(cut)));
        }
        Some(FaultKind::Malformed) => body.truncate(body.len() / 2),
        _ => {}
    }
    Ok(as_json(body.into()))
}

fn as_json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// What makes the connection break off.
pub(super) fn broken() -> io::Error {
    io::Error::other("the simulated server breaks the connection")
}
