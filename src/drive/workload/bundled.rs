//! The data inside the program: conversations and a tokenizer written for this project (see `datasets/README.md`).

use std::io::Read;

use flate2::read::GzDecoder;

use crate::drive::tokenizer::{Local, Tokenizer};

const CONVERSATIONS: &[u8] = include_bytes!("../../../datasets/sharegpt-bundled.json.gz");
const TOKENIZER: &[u8] = include_bytes!("../../../datasets/tokenizer.json.gz");

/// How reports call the bundled conversations.
pub const NAME: &str = "bundled conversations";

/// The bundled conversations as they are stored: gzip of a ShareGPT file.
pub fn compressed_conversations() -> &'static [u8] {
    CONVERSATIONS
}

/// The bundled conversations: a ShareGPT file.
pub fn conversations() -> impl Read {
    GzDecoder::new(CONVERSATIONS)
}

/// The bundled `tokenizer.json`.
pub fn tokenizer_json() -> Vec<u8> {
    let mut json = Vec::new();
    GzDecoder::new(TOKENIZER).read_to_end(&mut json).expect("the build embeds a whole gzip file");
    json
}

/// The bundled tokenizer, loaded.
pub fn tokenizer() -> Tokenizer {
    Local::from_bytes(&tokenizer_json(), "bundled tokenizer".into())
        .expect("a test loads the embedded tokenizer")
        .into()
}
