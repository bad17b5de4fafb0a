//! `--unique-prompts`: puts a unique sequence of words in front of each prompt.
//!
//! A prefix cache works in blocks from the beginning of a prompt, so a few words there prevent a server from reusing
//! the rest. Each word is a single token, so the salt has the same number of tokens in every request of every run.

use std::borrow::Cow;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::DatasetError;
use crate::dataset::single_token_words::SingleTokenWords;
use crate::model::request::{Content, Request};
use crate::model::run_spec::{HistoryMode, SaltScope, UniquePrefix};
use crate::tokenizer::Tokenizer;

/// Number of words in a salt. It is below the token count of the smallest usual block. With 80 words to choose from,
/// there are 10^15 salts.
const SALT_WORDS: usize = 8;

/// The text between the salt and the prompt.
const SALT_SEPARATOR: &str = "\n";

/// Separates the salts of requests before the run from those of the run.
const WARMUP_SALT: u64 = 1 << 63;

/// Puts a run's salts in front of its prompts.
#[derive(Debug, Clone)]
pub struct PromptSalter {
    words: Arc<SingleTokenWords>,
    unique: UniquePrefix,
    history: HistoryMode,
    tokens: u32,
}

impl PromptSalter {
    /// Creates the salter with words whose tokens this tokenizer counts reliably.
    ///
    /// # Errors
    /// When the tokenizer has no such words, or does not answer.
    pub fn new(
        unique: UniquePrefix,
        history: HistoryMode,
        tokenizer: &Tokenizer,
    ) -> Result<Self, DatasetError> {
        let words = SingleTokenWords::from_tokenizer(tokenizer)?;
        let text = words.text(0..SALT_WORDS.min(words.len()));
        let tokens = tokenizer.count_plain(&format!("{text}{SALT_SEPARATOR}"))?;
        Ok(Self { words: words.into(), unique, history, tokens })
    }

    /// Returns a salter for another run, with the same words.
    pub fn for_run(&self, unique: UniquePrefix) -> Self {
        Self { unique, ..self.clone() }
    }

    /// The length of the salt of one text, in tokens.
    pub fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Adds the salt to a request's prompt length.
    ///
    /// # Errors
    /// When the request cannot be salted.
    pub fn count_into(&self, request: &mut Request) -> Result<(), DatasetError> {
        if !self.is_salted(request) {
            return Ok(());
        }
        let tokens = match &request.content {
            Content::TokenIds(_) if self.words.has_ids() => SALT_WORDS as u32,
            Content::TokenIds(_) => {
                return Err(unsalted(
                    "token ids without a local tokenizer (`workload.tokenizer`), which knows the ids of words",
                ));
            }
            Content::Audio { .. } => return Err(unsalted("recordings")),
            Content::Messages(messages) if !can_salt_chat(messages) => {
                return Err(unsalted("messages whose first has neither a text nor parts"));
            }
            Content::Batch(texts) => self.tokens.saturating_mul(texts.len() as u32),
            Content::Rerank { documents, .. } => self.tokens.saturating_mul(documents.len() as u32),
            Content::Text(_) | Content::Messages(_) => self.tokens,
        };
        request.prompt_tokens = request.prompt_tokens.saturating_add(tokens);
        Ok(())
    }

    /// Returns the request as it is sent. `number` is the number of the first request of its session, counted over all
    /// laps; a plain request counts as a session. A later turn repeats the salted first turn, unless turns are sent
    /// without history.
    pub fn salt<'r>(&self, request: &'r Request, number: usize, measured: bool) -> Cow<'r, Request> {
        if !self.is_salted(request) {
            return Cow::Borrowed(request);
        }
        let key = match self.unique.scope {
            SaltScope::Run => 0,
            SaltScope::Session => number as u64 | if measured { 0 } else { WARMUP_SALT },
        };
        Cow::Owned(Request { content: self.salt_content(&request.content, key), ..request.clone() })
    }

    fn is_salted(&self, request: &Request) -> bool {
        !request.is_later_turn() || self.history == HistoryMode::None
    }

    fn salt_content(&self, content: &Content, key: u64) -> Content {
        let text = |text: &str, index: u64| -> Arc<str> { [&self.words(key, index), text].concat().into() };
        match content {
            Content::Text(prompt) => Content::Text(text(prompt, 0)),
            Content::TokenIds(ids) => {
                let salt = self.words.ids(self.draw(key, 0));
                Content::TokenIds(salt.into_iter().chain(ids.iter().copied()).collect())
            }
            Content::Messages(messages) => Content::Messages(self.salt_chat(messages, key)),
            Content::Batch(texts) => {
                Content::Batch(texts.iter().zip(0..).map(|(prompt, index)| text(prompt, index)).collect())
            }
            Content::Rerank { query, documents } => {
                Content::Rerank { query: text(query, 0), documents: Arc::clone(documents) }
            }
            Content::Audio { .. } => content.clone(),
        }
    }

    /// Salts the first message, which may be the system's. The salt comes before the message's text and images.
    fn salt_chat(&self, messages: &[Value], key: u64) -> Arc<[Value]> {
        let mut messages = messages.to_vec();
        let words = self.words(key, 0);
        match messages.first_mut().and_then(|first| first.get_mut("content")) {
            Some(Value::String(text)) => text.insert_str(0, &words),
            Some(Value::Array(parts)) => parts.insert(0, json!({ "type": "text", "text": words })),
            _ => {}
        }
        messages.into()
    }

    fn words(&self, key: u64, index: u64) -> String {
        let mut words = self.words.text(self.draw(key, index));
        words.push_str(SALT_SEPARATOR);
        words
    }

    /// Draws the salt of a request's text at `index`.
    fn draw(&self, key: u64, index: u64) -> impl Iterator<Item = usize> {
        // Odd constants spread small numbers over all bits.
        let place =
            key.wrapping_mul(0xD1B5_4A32_D192_ED03).wrapping_add(index.wrapping_mul(0x8CB9_2BA7_2F3D_8DD7));
        self.words.draw(StdRng::seed_from_u64(self.unique.salt.0 ^ place)).take(SALT_WORDS)
    }
}

/// Whether the first message of a chat has content that can be salted.
fn can_salt_chat(messages: &[Value]) -> bool {
    messages
        .first()
        .and_then(|first| first.get("content"))
        .is_some_and(|content| content.is_string() || content.is_array())
}

fn unsalted(what: &'static str) -> DatasetError {
    DatasetError::Unsalted(what)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::dataset::bundled;
    use crate::dataset::shared_prefix::CommonPrefixes;
    use crate::model::request::Turn;
    use crate::model::run_spec::Salt;

    fn salter(salt: u64, scope: SaltScope) -> PromptSalter {
        let unique = UniquePrefix { salt: Salt(salt), scope };
        PromptSalter::new(unique, HistoryMode::Real, &bundled::tokenizer()).unwrap()
    }

    fn texts(salter: &PromptSalter, count: usize) -> Vec<String> {
        let request = Request::text("Tell me of the hills, and of the rain that falls on them.", 14, 1);
        let text = |number| salter.salt(&request, number, true).content.as_text().unwrap().to_owned();
        (0..count).map(text).collect()
    }

    #[test]
    fn every_prompt_of_every_run_begins_on_its_own_and_all_are_equally_long() {
        let tokenizer = bundled::tokenizer();
        let mut all = HashSet::new();
        for salt in [1, 2] {
            let salter = salter(salt, SaltScope::Session);
            for text in texts(&salter, 2000) {
                let (words, prompt) = text.split_once(SALT_SEPARATOR).unwrap();
                assert!(prompt.starts_with("Tell me"), "{text}");
                let tokens = tokenizer.count_plain(&format!("{words}{SALT_SEPARATOR}")).unwrap();
                assert_eq!((tokens, tokens < 16), (salter.tokens(), true), "{words}");
                assert!(all.insert(words.to_owned()), "{words} twice");
            }
            let request = Request::text("x", 1, 1);
            assert_ne!(salter.salt(&request, 3, true), salter.salt(&request, 3, false), "warm-up");
        }
    }

    #[test]
    fn the_same_salt_gives_the_same_prompts_in_any_process() {
        assert_eq!(texts(&salter(7, SaltScope::Session), 50), texts(&salter(7, SaltScope::Session), 50));
    }

    #[test]
    fn prompts_that_are_made_to_share_a_beginning_go_on_sharing_it() {
        let [one, other] = [1, 2].map(|salt| texts(&salter(salt, SaltScope::Run), 3));
        assert!(one.iter().all(|text| *text == one[0]) && one[0] != other[0]);
    }

    #[test]
    fn only_the_first_turn_of_a_session_is_salted() {
        let turn = |index| {
            let turn = Turn { index, of: 2, ..Turn::default() };
            Request::text("Go on.", 3, 1).with(|own| own.turn = Some(turn))
        };
        let salter = salter(1, SaltScope::Session);
        assert!(matches!(salter.salt(&turn(1), 4, true), Cow::Borrowed(_)));
        let alone = PromptSalter { history: HistoryMode::None, ..salter.clone() };
        let (first, second) = (turn(0), turn(1));
        let begins = [&first, &second].map(|turn| alone.salt(turn, 4, true).content.clone());
        assert_eq!(begins[0], begins[1], "turns without a history share the words of their session");
        let mut requests = [turn(0), turn(1)];
        requests.iter_mut().try_for_each(|request| salter.count_into(request)).unwrap();
        assert_eq!(requests.map(|request| request.prompt_tokens), [3 + salter.tokens(), 3]);
    }

    #[test]
    fn every_kind_of_content_is_salted_at_its_beginning_or_refused() {
        let salter = salter(1, SaltScope::Session);
        let image = json!({ "type": "image_url", "image_url": { "url": "data:" } });
        let chat = |content: Value| Content::Messages([json!({ "role": "user", "content": content })].into());
        let batch = Content::Batch(["same".into(), "same".into()].into());
        let rerank = Content::Rerank { query: "q".into(), documents: ["d".into()].into() };
        let contents =
            [chat("Hi".into()), chat(json!([image])), Content::TokenIds([1, 2, 3].into()), batch, rerank];
        for content in contents {
            let mut requests = [Request::of(content, 3, 1)];
            requests.iter_mut().try_for_each(|request| salter.count_into(request)).unwrap();
            assert!(requests[0].prompt_tokens >= 3 + SALT_WORDS as u32, "{requests:?}");
            let salted: Vec<Request> =
                (0..2).map(|number| salter.salt(&requests[0], number, true).into_owned()).collect();
            assert_ne!(salted[0].content, salted[1].content);
            let Content::Batch(texts) = &salted[0].content else { continue };
            assert_ne!(texts[0], texts[1]);
        }
        let wav = Content::Audio { wav: [0].into(), prompt: "".into() };
        let error = salter.count_into(&mut Request::of(wav, 1, 1)).unwrap_err().to_string();
        assert!(error.contains("recordings"), "{error}");
    }

    #[test]
    fn salted_repeats_share_no_block() {
        let salter = salter(3, SaltScope::Session);
        let request =
            Request::text("The same words again and again, at least forty of them. ".repeat(4), 60, 1);
        let sent: Vec<Request> =
            (0..200).map(|number| salter.salt(&request, number, true).into_owned()).collect();
        assert_eq!(CommonPrefixes::compute((&sent).into()).unwrap().sharing_blocks(false), 0);
    }
}
