//! `custom_image` and `custom_audio`: prompts of one's own with images or recordings (vLLM's `CustomImageDataset` and
//! `CustomAudioDataset`).
//!
//! A file is opened when its request is made, so that only what the run sends is in memory.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::custom::{Line, Lines};
use super::sampler::sample;
use super::{Content, Fault, Format, Job, Workload, WorkloadError, message};
use crate::core::rng::Dice;
use crate::core::spec::{CustomMedia, Form};

const IMAGES: &Format = &Format {
    name: "custom_image dataset",
    shape: r#"{"prompt": "…", "image_files": ["a.png"]} or {"content": [{"type": "text", "text": "…"}, {"type": "image", "image": "a.png"}]} in each line"#,
    flag: "--dataset-path",
};

const RECORDINGS: &Format = &Format {
    name: "custom_audio dataset",
    shape: r#"{"prompt": "…", "audio": "a.wav"} in each line, where prompt may be left out"#,
    flag: "--dataset-path",
};

/// Samples prompts with images.
pub(super) fn images(media: &CustomMedia, job: &Job<'_>, dice: &mut Dice) -> Result<Workload, WorkloadError> {
    sample(&Lines::<ImageLine>::new(&media.path, media.output_len, media.inline), job, dice)
}

/// Samples prompts with recordings.
pub(super) fn recordings(
    media: &CustomMedia,
    job: &Job<'_>,
    dice: &mut Dice,
) -> Result<Workload, WorkloadError> {
    sample(&Lines::<AudioLine>::new(&media.path, media.output_len, media.inline), job, dice)
}

/// A part of a message.
enum Part {
    Text(String),
    Image {
        name: String,
        /// What the file says besides, such as `detail`.
        more: Map<String, Value>,
    },
}

/// A line of the file in either shape.
#[derive(Deserialize)]
#[serde(expecting = "an entry: an object with `prompt` or `content`")]
struct ImageLine {
    prompt: Option<String>,
    image_files: Option<Vec<String>>,
    content: Option<Vec<Map<String, Value>>>,
    output_tokens: Option<Value>,
}

impl ImageLine {
    fn parts(self) -> Result<Vec<Part>, Fault> {
        let shape = |text: &str| Fault::Shape(text.to_owned());
        match (self.content, self.prompt, self.image_files) {
            (Some(content), ..) if content.is_empty() => Err(shape("`content` is empty")),
            (Some(content), ..) => content.into_iter().map(Part::of).collect(),
            (None, Some(_), Some(files)) if files.is_empty() => Err(shape("`image_files` is empty")),
            (None, Some(prompt), Some(files)) => {
                let images = files.into_iter().map(|name| Part::Image { name, more: Map::new() });
                Ok([Part::Text(prompt)].into_iter().chain(images).collect())
            }
            _ => Err(shape("neither `content` nor both `prompt` and `image_files`")),
        }
    }
}

impl Part {
    fn of(mut part: Map<String, Value>) -> Result<Self, Fault> {
        let fault = |text: &str| Fault::Shape(format!("a part of `content`: {text}"));
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
            _ => Err(fault("its `type` is none of text, image, image_url")),
        }
    }
}

impl Line for ImageLine {
    const NAME: &'static str = "custom_image";
    const FORMAT: &'static Format = IMAGES;
    type Said = Vec<Part>;

    fn output_tokens(&self) -> Option<&Value> {
        self.output_tokens.as_ref()
    }

    fn said(self) -> Result<Vec<Part>, Fault> {
        self.parts()
    }

    fn content(said: Vec<Part>, inline: bool, job: &Job<'_>) -> Result<(Content, u32), WorkloadError> {
        let mut texts = String::new();
        let mut parts = Vec::with_capacity(said.len());
        for part in said {
            parts.push(match part {
                Part::Text(text) => {
                    texts.push_str(&text);
                    message::text(&text)
                }
                Part::Image { name, more } => {
                    let url = if inline { inlined(&name)? } else { message::reference(&name) };
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

/// An image as a URL that holds it.
fn inlined(name: &str) -> Result<String, WorkloadError> {
    if name.starts_with("data:") {
        return Ok(name.to_owned());
    }
    let unusable = |cause: &str| WorkloadError::Media { path: name.to_owned(), cause: cause.to_owned() };
    if name.starts_with("http://") || name.starts_with("https://") {
        return Err(unusable(
            "is not fetched by --custom-ensure-client-side-data; download it, or leave the flag out and let the server fetch it",
        ));
    }
    let path = name.strip_prefix("file://").unwrap_or(name);
    let bytes = fs::read(path).map_err(|error| WorkloadError::unopened(path, error, "image_files"))?;
    let kind = kind(&bytes).ok_or_else(|| unusable("is no JPEG, PNG, GIF or WebP image; convert it"))?;
    Ok(message::data_url(kind, &bytes))
}

/// What kind of image a file is, by its first bytes.
fn kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// A line of the file.
#[derive(Deserialize)]
#[serde(expecting = "an entry: an object with `audio`")]
struct AudioLine {
    #[serde(default)]
    prompt: String,
    audio: String,
    output_tokens: Option<Value>,
}

impl Line for AudioLine {
    const NAME: &'static str = "custom_audio";
    const FORMAT: &'static Format = RECORDINGS;
    type Said = Self;

    fn output_tokens(&self) -> Option<&Value> {
        self.output_tokens.as_ref()
    }

    fn said(self) -> Result<Self, Fault> {
        Ok(self)
    }

    fn content(said: Self, _: bool, job: &Job<'_>) -> Result<(Content, u32), WorkloadError> {
        let wav = wav(Path::new(&said.audio))?;
        let tokens = job.tokenizer.count(&said.prompt)?;
        let content = match job.form {
            Form::Chat => {
                let text = Some(message::text(&said.prompt)).filter(|_| !said.prompt.is_empty());
                message::user(text.into_iter().chain([message::recording(&wav)]).collect())
            }
            Form::Text | Form::Rendered { .. } => {
                Content::Audio { wav: wav.into(), prompt: said.prompt.into() }
            }
        };
        Ok((content, tokens))
    }
}

fn wav(path: &Path) -> Result<Vec<u8>, WorkloadError> {
    let name = path.display().to_string();
    let bytes = fs::read(path).map_err(|error| WorkloadError::unopened(&name, error, "audio"))?;
    match &bytes[..] {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Ok(bytes),
        _ => Err(WorkloadError::Media {
            path: name,
            cause: "is no WAV file; convert it: `ffmpeg -i FILE -ar 16000 -ac 1 FILE.wav`".into(),
        }),
    }
}
