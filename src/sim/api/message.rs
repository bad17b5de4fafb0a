//! Messages of a conversation, with what they hold besides text.

use serde::Deserialize;

use super::{media, refusal::Refusal};
use crate::sim::tokens::{Segment, Turn};

/// One message as it comes in, in any of the protocols that have them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Message {
    #[serde(default)]
    role: String,
    content: Option<Content>,
    /// Images in base64, as ollama takes them.
    images: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
    image_url: Option<Source>,
    audio_url: Option<Source>,
    video_url: Option<Source>,
    input_audio: Option<Recording>,
}

/// Where something lies: chats say so in an object, responses in a string.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Source {
    Bare(String),
    Object { url: String },
}

#[derive(Debug, Deserialize)]
struct Recording {
    /// In base64.
    data: String,
}

impl Message {
    /// A message of nothing but text.
    pub(super) fn of_text(role: &str, text: String) -> Self {
        Self { role: role.to_owned(), content: Some(Content::Text(text)), images: None }
    }

    /// The message with images besides its text.
    pub(super) fn with_images(self, images: Option<Vec<String>>) -> Self {
        Self { images, ..self }
    }

    fn turn(self) -> Result<Turn, Refusal> {
        let mut said = Vec::new();
        for image in self.images.unwrap_or_default() {
            said.push(Segment::Media(media::image(&format!("data:image;base64,{image}"))?));
        }
        match self.content {
            None => {}
            Some(Content::Text(text)) => said.push(Segment::Text(text)),
            Some(Content::Parts(parts)) => {
                for part in parts {
                    part.add_to(&mut said)?;
                }
            }
        }
        Ok(Turn { role: self.role, said })
    }
}

impl Part {
    fn add_to(self, said: &mut Vec<Segment>) -> Result<(), Refusal> {
        if let Some(text) = self.text {
            said.push(Segment::Text(text));
        }
        if let Some(image) = self.image_url {
            said.push(Segment::Media(media::image(&image.url())?));
        }
        if let Some(sound) = self.audio_url {
            said.push(Segment::Media(media::audio(&sound.url())?));
        }
        if let Some(recording) = self.input_audio {
            said.push(Segment::Media(media::audio(&format!("data:audio;base64,{}", recording.data))?));
        }
        if let Some(video) = self.video_url {
            said.push(Segment::Media(media::video(&video.url())?));
        }
        Ok(())
    }
}

impl Source {
    fn url(self) -> String {
        match self {
            Self::Bare(url) | Self::Object { url } => url,
        }
    }
}

/// The turns of a conversation; a refusal if one of them holds data that is none.
pub(super) fn turns(messages: impl IntoIterator<Item = Message>) -> Result<Vec<Turn>, Refusal> {
    messages.into_iter().map(Message::turn).collect()
}
