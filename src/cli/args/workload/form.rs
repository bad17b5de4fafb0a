//! Flags that decide how a dataset's texts are formatted, and which lengths are sent.

use clap::Args;
use serde_json::{Map, Value};

use crate::cli::args::values;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Form of prompts")]
pub(crate) struct FormArgs {
    /// Send a dataset's prompts unchanged, without the model's chat template
    ///
    /// By default, prompts of custom, sonnet, spec_bench, speed_bench and hf go through the template, except with
    /// --backend openai-chat: there the server applies it. (vLLM would apply it twice.)
    #[arg(long)]
    pub skip_chat_template: bool,
    /// More variables for the chat template, such as {"enable_thinking": false}
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// Send recordings as chat messages, as images always are
    #[arg(long)]
    pub enable_multimodal_chat: bool,
    /// Drop shorter prompts of a dataset [default: 4 for sharegpt and hf]
    ///
    /// A session with a shorter turn is dropped too.
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub min_prompt_len: Option<u32>,
    /// Drop longer prompts of a dataset [default: 1024 for sharegpt]
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub max_prompt_len: Option<u32>,
    /// Limit of prompt plus output; drop longer ones [default: 2048 for sharegpt]
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub max_total_len: Option<u32>,
    /// Context length of the model; drop requests that do not fit
    #[arg(long, value_name = "TOKENS", value_parser = values::tokens)]
    pub max_model_len: Option<u32>,
}

impl FormArgs {
    /// Returns these flags, with the values of `others` where a flag was not given.
    pub(crate) fn or(&self, others: &Self) -> Self {
        Self {
            skip_chat_template: self.skip_chat_template || others.skip_chat_template,
            chat_template_kwargs: self
                .chat_template_kwargs
                .clone()
                .or_else(|| others.chat_template_kwargs.clone()),
            enable_multimodal_chat: self.enable_multimodal_chat || others.enable_multimodal_chat,
            min_prompt_len: self.min_prompt_len.or(others.min_prompt_len),
            max_prompt_len: self.max_prompt_len.or(others.max_prompt_len),
            max_total_len: self.max_total_len.or(others.max_total_len),
            max_model_len: self.max_model_len.or(others.max_model_len),
        }
    }
}
