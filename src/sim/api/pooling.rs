//! What is computed of prompts alone: embeddings and scores. The engine prefills each prompt, and the step that completes it completes the
//! answer.

use std::{sync::Arc, time::Instant};

use axum::response::Response;
use serde_json::Value;

use super::{
    Parts,
    answer::{deliver, fail_early, runs, story},
    ask::Call,
    info::unix_seconds,
    refusal::Refusal,
    shape::json,
};
use crate::sim::{
    engine::{Job, Ticket, Work},
    fault::FaultKind,
    plan::END_OF_SEQUENCE,
    spec::Spec,
    tokens::{Markers, Segment},
    truth::{Entry, Story},
};

mod embeddings;
mod scores;

/// A way to ask for something that needs no output tokens.
pub(super) struct Pooler {
    /// Where it is found, all by POST.
    pub paths: &'static [&'static str],
    pub read: fn(&Call, &Parts) -> Result<Inquiry, Refusal>,
    /// The answer's body.
    pub write: fn(&Inquiry, &Pooled) -> Value,
}

/// Every such way.
pub(super) static POOLERS: [&Pooler; 4] =
    [&embeddings::EMBEDDINGS, &embeddings::INFINITY, &embeddings::POOLING, &scores::RERANK];

/// A request that can be served, unless one of its prompts is too long.
pub(super) struct Inquiry {
    pub model: String,
    pub prompts: Vec<Input>,
    /// Cuts longer prompts to this many tokens.
    pub truncate: Option<usize>,
    pub wish: Wish,
}

/// One prompt.
pub(super) enum Input {
    Segments(Vec<Segment>, Markers),
    Tokens(Vec<u32>),
}

/// What is wanted of the prompts.
pub(super) enum Wish {
    /// So many numbers for each.
    Embeddings { size: usize, base64: bool },
    /// How well each document fits the query; the best of them.
    Ranking { documents: Vec<String>, best: usize },
}

/// What came of it.
pub(super) struct Pooled {
    pub id: String,
    /// Unix time in seconds.
    pub created: u64,
    pub prompts: Vec<Vec<u32>>,
    pub seed: u64,
    /// Whether to tell the token counts.
    pub tells: bool,
}

impl Pooled {
    pub(super) fn prompt_tokens(&self) -> usize {
        self.prompts.iter().map(Vec::len).sum()
    }
}

/// Reads a request, has its prompts computed and answers.
pub(super) async fn respond(
    parts: Arc<Parts>,
    pooler: &'static Pooler,
    call: &Call<'_>,
) -> Result<Response, Refusal> {
    let read = Instant::now();
    let ordinal = parts.next_ordinal();
    let mut inquiry = (pooler.read)(call, &parts)?;
    let mut prompts = Vec::with_capacity(inquiry.prompts.len());
    for input in std::mem::take(&mut inquiry.prompts) {
        prompts.push(tokens(&parts, input, inquiry.truncate).await?);
    }
    let story = Story {
        ordinal,
        fault: parts.spec.faults.fate(parts.spec.seed, ordinal),
        read_ns: parts.truth.stamp(read),
        ..story(&parts, call, &inquiry.model, prompts.iter().map(Vec::as_slice))
    };
    let mut story = Entry::new(&parts.truth, story);
    let computed = compute(&parts, &mut story, &inquiry.model, &prompts, read).await;
    story.cancelled = false;
    computed?;
    let pooled = Pooled {
        id: story.id.clone(),
        created: unix_seconds(),
        prompts: if story.fault == Some(FaultKind::Empty) { Vec::new() } else { prompts },
        seed: parts.spec.seed,
        tells: parts.spec.output.usage,
    };
    deliver(story.fault, json(&(pooler.write)(&inquiry, &pooled)))
}

/// The tokens of a prompt.
async fn tokens(parts: &Arc<Parts>, input: Input, truncate: Option<usize>) -> Result<Vec<u32>, Refusal> {
    let mut tokens = match input {
        Input::Segments(segments, markers) => parts.encode_all(segments, markers).await?,
        Input::Tokens(tokens) => match parts.vocabulary.first_unknown(&tokens) {
            Some(id) => return Err(Refusal::bad("", format!("Token id {id} is out of vocabulary"))),
            None => tokens,
        },
    };
    tokens.truncate(truncate.unwrap_or(usize::MAX));
    let limit = parts.spec.max_model_len;
    if tokens.len() > limit {
        return Err(super::answer::too_long(&tokens, limit));
    }
    if tokens.is_empty() {
        return Err(Refusal::bad("input", "The input must not be empty. (parameter=input)".to_owned()));
    }
    Ok(tokens)
}

/// Has the engine compute all prompts.
async fn compute(
    parts: &Parts,
    story: &mut Entry,
    model: &str,
    prompts: &[Vec<u32>],
    arrived: Instant,
) -> Result<(), Refusal> {
    fail_early(parts, story.fault).await?;
    if !runs(story.fault) {
        return Ok(());
    }
    let adapter = parts.spec.is_adapter(model).then(|| model.to_owned());
    let submit = |prompt: &Vec<u32>| {
        let (prompt, output, adapter) = (prompt.clone(), vec![END_OF_SEQUENCE], adapter.clone());
        parts.engine.submit(Job { prompt, output, work: Work::Pool, arrived, adapter, cache_salt: None })
    };
    // All at once, as the batch that they are.
    let tickets: Vec<Ticket> = prompts.iter().map(submit).collect();
    for mut ticket in tickets {
        let Some(event) = ticket.next().await else { return Err(Refusal::internal()) };
        story.cached_tokens += event.cached;
        story.step_ns.push(parts.truth.stamp(event.at));
    }
    if story.fault == Some(FaultKind::Stall) {
        parts.closing().await;
        return Err(Refusal::internal());
    }
    Ok(())
}

/// What `truncate_prompt_tokens` means: a number of tokens, or with -1 as many as the model takes.
fn truncation(asked: Option<i64>, spec: &Spec) -> Result<Option<usize>, Refusal> {
    match asked {
        None => Ok(None),
        Some(-1) => Ok(Some(spec.max_model_len)),
        Some(tokens) => usize::try_from(tokens).map(|tokens| Some(tokens.max(1))).map_err(|_| {
            let message = format!("truncate_prompt_tokens must be -1 or more, got {tokens}.");
            Refusal::value("truncate_prompt_tokens", tokens, &message)
        }),
    }
}
