//! The data compiled into the program: conversations and a tokenizer written for this project (see
//! `datasets/README.md`).

use std::io::Read;

use flate2::read::GzDecoder;

use crate::tokenizer::{LocalTokenizer, Tokenizer, TokenizerError};

const CONVERSATIONS: &[u8] = include_bytes!("../../datasets/sharegpt-bundled.json.gz");
const TOKENIZER: &[u8] = include_bytes!("../../datasets/tokenizer.json.gz");

/// The name of the bundled conversations in reports.
pub const NAME: &str = "bundled conversations";

/// The bundled conversations as stored: a gzip-compressed ShareGPT file.
pub fn compressed_conversations() -> &'static [u8] {
    CONVERSATIONS
}

/// The bundled conversations, decompressed: a ShareGPT file.
pub fn conversations() -> impl Read {
    GzDecoder::new(CONVERSATIONS)
}

/// The content of the bundled `tokenizer.json`.
pub fn tokenizer_json() -> Vec<u8> {
    let mut json = Vec::new();
    GzDecoder::new(TOKENIZER).read_to_end(&mut json).expect("the build embeds a whole gzip file");
    json
}

/// Loads the bundled tokenizer.
///
/// # Errors
/// In a build without tokenizers.
pub fn load_tokenizer() -> Result<Tokenizer, TokenizerError> {
    LocalTokenizer::from_bytes(&tokenizer_json(), "bundled tokenizer".into()).map(Tokenizer::from)
}

/// The bundled tokenizer, in a build with tokenizers.
#[cfg(feature = "tokenizers")]
pub fn tokenizer() -> Tokenizer {
    load_tokenizer().expect("a test loads the embedded tokenizer")
}
