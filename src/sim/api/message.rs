//! Messages of a conversation, including their media.

use serde::Deserialize;

use super::media;
use crate::sim::api::api_error::ApiError;
use crate::sim::tokens::{ChatTurn, PromptSegment};

/// A message of a request, in any of the protocols that have messages.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ChatMessage {
    #[serde(default)]
    role: String,
    content: Option<MessageContent>,
    /// Base64-encoded images, as ollama takes them.
    images: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum MessageContent {
    Text(String),
    Parts(Vec<ContentPart>),
}

#[derive(Debug, Deserialize)]
struct ContentPart {
    text: Option<String>,
    image_url: Option<MediaUrl>,
    audio_url: Option<MediaUrl>,
    video_url: Option<MediaUrl>,
    input_audio: Option<AudioData>,
}

/// A media URL: an object in chat completions, a string in responses.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum MediaUrl {
    Bare(String),
    Object { url: String },
}

#[derive(Debug, Deserialize)]
struct AudioData {
    /// Base64-encoded data.
    data: String,
}

impl ChatMessage {
    /// Creates a message that holds only text.
    pub(super) fn from_text(role: &str, text: String) -> Self {
        Self { role: role.to_owned(), content: Some(MessageContent::Text(text)), images: None }
    }

    /// Adds images to the message.
    pub(super) fn with_images(self, images: Option<Vec<String>>) -> Self {
        Self { images, ..self }
    }

    fn turn(self) -> Result<ChatTurn, ApiError> {
        let mut said = Vec::new();
        for image in self.images.unwrap_or_default() {
            said.push(PromptSegment::Media(media::image(&format!("data:image;base64,{image}"))?));
        }
        match self.content {
            None => {}
            Some(MessageContent::Text(text)) => said.push(PromptSegment::Text(text)),
            Some(MessageContent::Parts(parts)) => {
                for part in parts {
                    part.add_to(&mut said)?;
                }
            }
        }
        Ok(ChatTurn { role: self.role, said })
    }
}

impl ContentPart {
    fn add_to(self, said: &mut Vec<PromptSegment>) -> Result<(), ApiError> {
        if let Some(text) = self.text {
            said.push(PromptSegment::Text(text));
        }
        if let Some(image) = self.image_url {
            said.push(PromptSegment::Media(media::image(&image.url())?));
        }
        if let Some(sound) = self.audio_url {
            said.push(PromptSegment::Media(media::audio(&sound.url())?));
        }
        if let Some(recording) = self.input_audio {
            said.push(PromptSegment::Media(media::audio(&format!("data:audio;base64,{}", recording.data))?));
        }
        if let Some(video) = self.video_url {
            said.push(PromptSegment::Media(media::video(&video.url())?));
        }
        Ok(())
    }
}

impl MediaUrl {
    fn url(self) -> String {
        match self {
            Self::Bare(url) | Self::Object { url } => url,
        }
    }
}

/// Returns the turns of a conversation, or an error if one of them holds invalid data.
pub(super) fn chat_turns(messages: impl IntoIterator<Item = ChatMessage>) -> Result<Vec<ChatTurn>, ApiError> {
    messages.into_iter().map(ChatMessage::turn).collect()
}
