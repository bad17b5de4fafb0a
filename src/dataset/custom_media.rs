//! The `custom_image` and `custom_audio` datasets: a user's own prompts with images or recordings (vLLM's
//! `CustomImageDataset` and `CustomAudioDataset`).
//!
//! A media file is opened when its request is made, so that memory holds only the files that the run sends.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::custom::{PromptFile, PromptRecord};
use super::sampler::sample;
use super::{DatasetError, DatasetFault, DatasetFormat, PrepareContext, PreparedWorkload, message};
use crate::model::bounded_file::{self, FileLimit};
use crate::model::request::Content;
use crate::model::rng::RunRng;
use crate::model::run_spec::{CustomMedia, PromptFormat};

const IMAGES: &DatasetFormat = &DatasetFormat {
    name: "custom_image dataset",
    shape: r#"{"prompt": "…", "image_files": ["a.png"]} or {"content": [{"type": "text", "text": "…"}, {"type": "image", "image": "a.png"}]} in each line"#,
    named_by: "`dataset.path`",
};

const RECORDINGS: &DatasetFormat = &DatasetFormat {
    name: "custom_audio dataset",
    shape: r#"{"prompt": "…", "audio": "a.wav"} in each line, where prompt may be left out"#,
    named_by: "`dataset.path`",
};

/// Samples prompts with images.
pub(super) fn images(
    media: &CustomMedia,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    sample(&PromptFile::<ImageRecord>::new(&media.path, media.output_len, media.inline), job, dice)
}

/// Samples prompts with recordings.
pub(super) fn recordings(
    media: &CustomMedia,
    job: &PrepareContext<'_>,
    dice: &mut RunRng,
) -> Result<PreparedWorkload, DatasetError> {
    sample(&PromptFile::<AudioRecord>::new(&media.path, media.output_len, media.inline), job, dice)
}

enum MessagePart {
    Text(String),
    Image {
        name: String,
        /// Other members of the part, such as `detail`.
        more: Map<String, Value>,
    },
}

/// A line of an image file, in either of its two shapes.
#[derive(Deserialize)]
#[serde(expecting = "an entry: an object with `prompt` or `content`")]
struct ImageRecord {
    prompt: Option<String>,
    image_files: Option<Vec<String>>,
    content: Option<Vec<Map<String, Value>>>,
    output_tokens: Option<Value>,
}

impl ImageRecord {
    fn parts(self) -> Result<Vec<MessagePart>, DatasetFault> {
        let shape = |text: &str| DatasetFault::Shape(text.to_owned());
        match (self.content, self.prompt, self.image_files) {
            (Some(content), ..) if content.is_empty() => Err(shape("`content` is empty")),
            (Some(content), ..) => content.into_iter().map(MessagePart::parse).collect(),
            (None, Some(_), Some(files)) if files.is_empty() => Err(shape("`image_files` is empty")),
            (None, Some(prompt), Some(files)) => {
                let images = files.into_iter().map(|name| MessagePart::Image { name, more: Map::new() });
                Ok([MessagePart::Text(prompt)].into_iter().chain(images).collect())
            }
            _ => Err(shape("neither `content` nor both `prompt` and `image_files`")),
        }
    }
}

impl MessagePart {
    fn parse(mut part: Map<String, Value>) -> Result<Self, DatasetFault> {
        let fault = |text: &str| DatasetFault::Shape(format!("a part of `content`: {text}"));
        let mut string = |name: &str| match part.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(fault(&format!("no text in `{name}`"))),
        };
        match string("type")?.as_str() {
            "text" => Ok(Self::Text(string("text")?)),
            "image" => Ok(Self::Image { name: string("image")?, more: Map::new() }),
            "image_url" => match part.remove("image_url") {
                Some(Value::String(name)) => Ok(Self::Image { name, more: Map::new() }),
                Some(Value::Object(mut more)) => match more.remove("url") {
                    Some(Value::String(name)) => Ok(Self::Image { name, more }),
                    _ => Err(fault("no text in `image_url.url`")),
                },
                _ => Err(fault("no URL in `image_url`")),
            },
            _ => Err(fault("its `type` is not one of text, image, image_url")),
        }
    }
}

impl PromptRecord for ImageRecord {
    const NAME: &'static str = "custom_image";
    const FORMAT: &'static DatasetFormat = IMAGES;
    type PromptContent = Vec<MessagePart>;

    fn output_tokens(&self) -> Option<&Value> {
        self.output_tokens.as_ref()
    }

    fn text_bytes(said: &Vec<MessagePart>) -> usize {
        let texts = said.iter().map(|part| match part {
            MessagePart::Text(text) => text.len(),
            MessagePart::Image { .. } => 0,
        });
        texts.sum()
    }

    fn into_prompt(self) -> Result<Vec<MessagePart>, DatasetFault> {
        self.parts()
    }

    fn content(
        said: Vec<MessagePart>,
        inline: bool,
        job: &PrepareContext<'_>,
    ) -> Result<(Content, u32), DatasetError> {
        let mut texts = String::new();
        let mut parts = Vec::with_capacity(said.len());
        for part in said {
            parts.push(match part {
                MessagePart::Text(text) => {
                    texts.push_str(&text);
                    message::text(&text)
                }
                MessagePart::Image { name, more } => {
                    let url = if inline { inline_image(&name)? } else { message::reference(&name) };
                    let mut part = message::image(url);
                    if let Some(Value::Object(image)) = part.get_mut("image_url") {
                        image.extend(more);
                    }
                    part
                }
            });
        }
        Ok((message::user(parts), job.tokenizer.count(&texts)?))
    }
}

/// Encodes an image file as a data URL.
fn inline_image(name: &str) -> Result<String, DatasetError> {
    if name.starts_with("data:") {
        return Ok(name.to_owned());
    }
    let unusable = |cause: &str| DatasetError::Media { path: name.to_owned(), cause: cause.to_owned() };
    if name.starts_with("http://") || name.starts_with("https://") {
        return Err(unusable(
            "is a URL, and `custom_image.inline` sends files only; download it, or let the server fetch it",
        ));
    }
    let path = name.strip_prefix("file://").unwrap_or(name);
    let bytes = bounded_file::read(Path::new(path), FileLimit::MEDIA)
        .map_err(|error| DatasetError::cannot_open(path, error, "`image_files`"))?;
    let kind =
        image_kind(&bytes).ok_or_else(|| unusable("is not a JPEG, PNG, GIF or WebP image; convert it"))?;
    Ok(message::data_url(kind, &bytes))
}

/// The type of an image file, by its first bytes.
fn image_kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// A line of an audio file.
#[derive(Deserialize)]
#[serde(expecting = "an entry: an object with `audio`")]
struct AudioRecord {
    #[serde(default)]
    prompt: String,
    audio: String,
    output_tokens: Option<Value>,
}

impl PromptRecord for AudioRecord {
    const NAME: &'static str = "custom_audio";
    const FORMAT: &'static DatasetFormat = RECORDINGS;
    type PromptContent = Self;

    fn output_tokens(&self) -> Option<&Value> {
        self.output_tokens.as_ref()
    }

    fn text_bytes(said: &Self) -> usize {
        said.prompt.len()
    }

    fn into_prompt(self) -> Result<Self, DatasetFault> {
        Ok(self)
    }

    fn content(said: Self, _: bool, job: &PrepareContext<'_>) -> Result<(Content, u32), DatasetError> {
        let wav = read_wav(Path::new(&said.audio))?;
        let tokens = job.tokenizer.count(&said.prompt)?;
        let content = match job.form {
            PromptFormat::Chat => {
                let text = Some(message::text(&said.prompt)).filter(|_| !said.prompt.is_empty());
                message::user(text.into_iter().chain([message::recording(&wav)]).collect())
            }
            PromptFormat::Text | PromptFormat::Rendered { .. } => {
                Content::Audio { wav: wav.into(), prompt: said.prompt.into() }
            }
        };
        Ok((content, tokens))
    }
}

fn read_wav(path: &Path) -> Result<Vec<u8>, DatasetError> {
    let name = path.display().to_string();
    let bytes = bounded_file::read(path, FileLimit::MEDIA)
        .map_err(|error| DatasetError::cannot_open(&name, error, "`audio`"))?;
    match &bytes[..] {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Ok(bytes),
        _ => Err(DatasetError::Media {
            path: name,
            cause: "is not a WAV file; convert it: `ffmpeg -i FILE -ar 16000 -ac 1 FILE.wav`".into(),
        }),
    }
}
