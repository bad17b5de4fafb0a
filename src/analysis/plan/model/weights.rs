//! The size of a model's weights: in its files, and as vLLM loads them on each GPU.

use std::path::Path;

use serde_json::Value;

use super::attention::TokenCacheLayout;
use super::config::ModelError;
use super::matrix::{self, Matrix};
use super::parameters;
use super::quantization::QuantizationScheme;
use super::{ModelArchitecture, experts, vision};

/// The widths that determine the memory of a forward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Widths {
    /// The width of the hidden state.
    pub hidden: f64,
    /// The width of a dense layer.
    pub dense: f64,
    /// The width of an expert; `None` in a model without experts.
    pub expert: Option<f64>,
    /// The number of experts that compute a token.
    pub chosen: f64,
    /// The size of the vocabulary.
    pub vocabulary: f64,
}

impl ModelArchitecture {
    fn matrices(&self) -> Result<Vec<Matrix>, ModelError> {
        parameters::matrices(&self.config, &self.layers)
    }

    /// Computes the number of parameters of the language model from its config.
    ///
    /// # Errors
    ///
    /// For a family whose files do not determine the shape: [`ModelError`] says to give the weights.
    #[cfg(test)]
    pub(crate) fn parameters(&self) -> Result<u64, ModelError> {
        Ok(self.matrices()?.iter().map(|matrix| matrix.parameters).sum::<f64>() as u64)
    }

    /// The bytes of the model's weights in their files, quantized as its config states, including the vision part.
    ///
    /// # Errors
    ///
    /// For a family whose files do not determine the shape ([`ModelError`] says to give the weights), and for a
    /// quantization that is not known.
    pub(crate) fn weight_bytes(&self) -> Result<u64, ModelError> {
        let scheme = QuantizationScheme::read(&self.config)?;
        let bytes = |matrix: &Matrix| matrix.parameters * scheme.bits(&matrix.name) / 8.0;
        let language = self.matrices()?.iter().map(bytes).sum::<f64>();
        Ok((language + self.vision_bytes()) as u64)
    }

    /// The bytes of the weights on each of `tp` GPUs as vLLM loads them. A matrix that vLLM does not divide is on each
    /// GPU, and vLLM converts the matrices that its kernels need in another format.
    ///
    /// # Errors
    ///
    /// As [`ModelArchitecture::weight_bytes`].
    pub(crate) fn loaded_bytes(&self, tp: u64) -> Result<u64, ModelError> {
        let scheme = QuantizationScheme::read(&self.config)?;
        let bytes = |matrix: &Matrix| {
            let padding = if scheme.pads_experts && matrix.name.contains(".experts.") {
                self.expert_padding(tp)
            } else {
                1.0
            };
            padding * matrix.parameters * scheme.bits(&matrix.name) / 8.0 / matrix.sharing.parts(tp) as f64
        };
        let language = self.matrices()?.iter().map(bytes).sum::<f64>();
        Ok((language + (self.vision_bytes() + self.latent_copies()) / tp as f64) as u64)
    }

    fn vision_bytes(&self) -> f64 {
        let hidden = matrix::hidden(&self.config).unwrap_or_default();
        2.0 * vision::parameters(&self.config, hidden).unwrap_or_default() as f64
    }

    /// Whether the model has a vision part whose size its config does not state.
    pub(crate) fn lacks_vision(&self) -> bool {
        vision::parameters(&self.config, 1).is_none()
    }

    /// The bytes of copies for latent attention: for decoding, vLLM keeps a 16-bit copy of the matrices that expand the
    /// latents.
    fn latent_copies(&self) -> f64 {
        let plain = self.config.optional(&["qk_nope_head_dim"]).ok().flatten().unwrap_or_default();
        let value = self.config.optional(&["v_head_dim"]).ok().flatten().unwrap_or_default();
        let copies = self.layers.iter().filter_map(|cache| cache.attention).map(|attention| match attention
            .kept
        {
            TokenCacheLayout::Latent { rank, .. } => 2.0 * (rank * attention.heads * (plain + value)) as f64,
            TokenCacheLayout::Heads { .. } => 0.0,
        });
        copies.sum()
    }

    /// The factor by which the experts in the MX format grow on the GPU: vLLM pads their inputs to 256 and their width
    /// to 128 (`mxfp4.py`, the kernels of Hopper and Ampere).
    fn expert_padding(&self, tp: u64) -> f64 {
        let sides = matrix::hidden(&self.config).ok().zip(experts::expert_width(&self.config).ok());
        let Some((hidden, width)) = sides else { return 1.0 };
        let each = width.div_ceil(tp);
        (hidden.next_multiple_of(256) * each.next_multiple_of(128)) as f64 / (hidden * each) as f64
    }

    /// The widths that determine the memory of a forward pass.
    ///
    /// # Errors
    ///
    /// For a field that is missing.
    pub(crate) fn widths(&self) -> Result<Widths, ModelError> {
        let config = &self.config;
        let first = self.layers.first().map(|cache| cache.layer);
        let has_experts = config.optional(&experts::EXPERT_COUNT_FIELDS)?.is_some();
        let dense = first.map(|layer| experts::dense_width(config, &layer, 0)).transpose();
        Ok(Widths {
            hidden: matrix::hidden(config)? as f64,
            dense: dense.ok().flatten().unwrap_or_default() as f64,
            expert: has_experts.then(|| experts::expert_width(config)).transpose()?.map(|width| width as f64),
            chosen: config.optional(&experts::ACTIVE_EXPERT_FIELDS)?.unwrap_or_default() as f64,
            vocabulary: parameters::vocabulary(config)?.unwrap_or_default() as f64,
        })
    }
}

/// Returns the bytes of all weights from their index (`model.safetensors.index.json`); errors name `path`.
///
/// # Errors
///
/// For a file that is not an index, or that does not state the total.
pub(crate) fn indexed_bytes(path: &Path, text: &str) -> Result<u64, ModelError> {
    let wrong = |field: &str, why: &str| ModelError::Field {
        path: path.to_owned(),
        field: field.to_owned(),
        why: why.to_owned(),
        cure: "give `plan.weights`, the total size of the weight files".to_owned(),
    };
    let index: Value = serde_json::from_str(text)
        .map_err(|error| wrong("metadata", &format!("cannot be read ({error})")))?;
    let total = index.get("metadata").and_then(|metadata| metadata.get("total_size"));
    let total = total.ok_or_else(|| wrong("metadata.total_size", "is missing"))?;
    let stated = total.as_str().and_then(|text| text.parse().ok());
    let bytes = total
        .as_f64()
        .or(stated)
        .filter(|bytes| *bytes >= 1.0 && *bytes < super::MAX_FIELD_VALUE as f64 * 1e3);
    bytes.map(|bytes| bytes as u64).ok_or_else(|| wrong("metadata.total_size", "is not a size in bytes"))
}
