//! The `/metrics` pages of servers, read together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::drive::client::control::{Control, ControlError};
use crate::server::page::Page;
use crate::server::signals::Reading;

/// A page that takes longer is missed: a busy server may have better things to do, and who reads must end.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the pages are, and who reads them.
pub struct Pages(Vec<(String, Arc<Control>)>);

/// Why there is no reading of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It could not be read.
    NoAnswer,
    /// The server wants an API key, or another one.
    NoKey,
    /// It is none of an engine's that we know.
    Unknown,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAnswer => "no metrics; is the server running?",
            Self::NoKey => "HTTP 401: the server needs an API key: set OPENAI_API_KEY, or --header",
            Self::Unknown => "none of the metrics that vLLM, SGLang, TGI, llama.cpp or TensorRT-LLM have",
        })
    }
}

impl Pages {
    /// The pages at these URLs, each asked by its own.
    pub fn new(places: Vec<(String, Arc<Control>)>) -> Self {
        Self(places)
    }

    /// Where they are.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(url, _)| url.as_str())
    }

    /// All at once, in the order of their URLs.
    pub async fn read(&self) -> Vec<Result<Reading, Silence>> {
        let read = async |control: &Arc<Control>| {
            let page = timeout(PATIENCE, control.metrics_page()).await.map_err(|_| Silence::NoAnswer)?;
            let page = page.map_err(|error| match error {
                ControlError::Refused { status: 401, .. } => Silence::NoKey,
                _ => Silence::NoAnswer,
            })?;
            let reading = Reading::of(&Page::parse(&page));
            if reading.is_empty() { Err(Silence::Unknown) } else { Ok(reading) }
        };
        join_all(self.0.iter().map(|(_, control)| read(control))).await
    }
}
