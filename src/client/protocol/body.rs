//! Builds the bodies of requests.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{BodyEncoding, ModelField, Protocol};
use crate::client::protocol::multipart;
use crate::model::request::{Content, Request};
use crate::model::run_spec::{BackendTask, Sampling};

/// The parts that all request bodies of a run share.
#[derive(Debug, Clone)]
pub(crate) struct RequestTemplate {
    wire: &'static Protocol,
    common: Map<String, Value>,
    extra: Map<String, Value>,
}

impl RequestTemplate {
    /// Creates a template for a protocol, a model (by its served name) and sampling settings.
    pub(crate) fn new(wire: &'static Protocol, model: &str, sampling: &Sampling) -> Self {
        let mut common = Map::new();
        if let ModelField::Field(field) = wire.model {
            common.insert(field.into(), model.into());
        }
        if wire.backend.task() == BackendTask::Generation {
            let fields =
                sampling_fields(sampling).into_iter().map(|(name, value)| (wire.field_name(name), value));
            wire.parameters_mut(&mut common).extend(fields);
        }
        wire.merge(&mut common, object((wire.fixed)(!sampling.whole)));
        Self { wire, common, extra: sampling.extra_body.clone() }
    }

    /// Builds the body of one request. The run's extra fields and then the request's own come last and replace earlier
    /// fields.
    ///
    /// # Panics
    /// If the protocol [does not support](Protocol::unsupported_feature) the request.
    pub(crate) fn body(&self, request: &Request) -> Bytes {
        let wire = self.wire;
        let prompt = (wire.content_fields)(&request.content).expect("a run's requests are checked before it");
        let mut body = self.common.clone();
        body.extend(prompt.into_iter().map(|(field, value)| (field.to_owned(), value)));
        if let Some(limit) = wire.limit {
            wire.parameters_mut(&mut body).insert(limit.into(), request.max_tokens.into());
        }
        (wire.adapt)(&mut body);
        wire.merge(&mut body, self.extra.clone());
        if let Some(own) = &request.own {
            if let (Some(model), ModelField::Field(field) | ModelField::Own(field)) = (&own.model, wire.model)
            {
                body.insert(field.into(), model.as_str().into());
            }
            wire.merge(&mut body, own.body.clone());
        }
        match (wire.encoding, &request.content) {
            (BodyEncoding::Form, Content::Audio { wav, .. }) => multipart::encode_multipart(&body, wav),
            _ => Value::Object(body).to_string().into(),
        }
    }
}

/// The fields that limit an answer's tokens, over all protocols.
const LIMIT_FIELDS: [&str; 6] = [
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "max_new_tokens",
    "n_predict",
    "num_predict",
];

impl RequestTemplate {
    /// The largest number of tokens that a request asks for, summed over all its choices. `None` if the protocol
    /// generates nothing, or if the user's own fields hold no number.
    pub(crate) fn max_output_tokens(&self, request: &Request) -> Option<u32> {
        let usual = self.wire.limit?;
        // A chat request also has the older name.
        let names = [usual, if usual == "max_completion_tokens" { "max_tokens" } else { usual }];
        let is_ours = names.iter().any(|name| self.body_field(request, name).is_none());
        let ours = is_ours.then(|| u64::from(request.max_tokens));
        // The client does not know which of several names the server uses, so it takes the largest value.
        let said = LIMIT_FIELDS.iter().filter_map(|name| self.body_field(request, name)?.as_u64());
        let limit = said.chain(ours).max()?;
        let choices = self.body_field(request, "n").and_then(Value::as_u64).unwrap_or(1).max(1);
        u32::try_from(limit.saturating_mul(choices)).ok()
    }

    /// The smallest number of tokens that a request asks for. If the request ignores the end-of-sequence token, this
    /// equals the largest number.
    pub(crate) fn min_output_tokens(&self, request: &Request) -> Option<u32> {
        let limit = self.max_output_tokens(request)?;
        let names = [self.wire.field_name("ignore_eos"), "ignore_eos".to_owned()];
        if names.iter().any(|name| self.body_field(request, name) == Some(&Value::Bool(true))) {
            return Some(limit);
        }
        let names = ["min_tokens", "min_new_tokens", "min_length"];
        let least = names
            .into_iter()
            .find_map(|name| self.body_field(request, name)?.as_u64())
            .filter(|least| *least > 0)?;
        Some(u32::try_from(least).map_or(limit, |least| least.min(limit)))
    }

    /// A field of a request's body that the run's sampling settings or the user set, next to the prompt or among the
    /// parameters.
    fn body_field<'t>(&'t self, request: &'t Request, name: &str) -> Option<&'t Value> {
        let own = request.own.as_deref().map(|own| &own.body);
        let mut places = own.into_iter().chain([&self.extra, &self.common]);
        places.find_map(|fields| {
            let inner = || fields.get(self.wire.parameters?)?.get(name);
            fields.get(name).or_else(inner)
        })
    }
}

impl Protocol {
    /// The sampling settings as fields of one request's body; they override the run's.
    pub(crate) fn sampling_overrides(&self, sampling: &Sampling) -> Map<String, Value> {
        let mut own = Map::new();
        if self.backend.task() == BackendTask::Generation {
            let fields =
                sampling_fields(sampling).into_iter().map(|(name, value)| (self.field_name(name), value));
            self.parameters_mut(&mut own).extend(fields);
        }
        self.merge(&mut own, sampling.extra_body.clone());
        own
    }

    /// This protocol's name for one of OpenAI's sampling fields.
    fn field_name(&self, field: &str) -> String {
        let known = self.names.iter().find(|(name, _)| *name == field);
        known.map_or(field, |(_, here)| here).to_owned()
    }

    /// The object that holds the sampling fields.
    fn parameters_mut<'b>(&self, body: &'b mut Map<String, Value>) -> &'b mut Map<String, Value> {
        let Some(object) = self.parameters else { return body };
        let place = body.entry(object).or_insert_with(|| Map::new().into());
        if !place.is_object() {
            *place = Map::new().into();
        }
        place.as_object_mut().expect("it was made one")
    }

    /// Adds fields. A field replaces one of the same name, and `null` removes it. Within the object of sampling fields,
    /// only the given fields change.
    fn merge(&self, body: &mut Map<String, Value>, fields: Map<String, Value>) {
        for (name, value) in fields {
            match (value, self.parameters) {
                (Value::Object(inner), Some(object)) if object == name => {
                    self.parameters_mut(body).extend(inner)
                }
                (Value::Null, _) if body.contains_key(&name) => _ = body.remove(&name),
                (value, _) => _ = body.insert(name, value),
            }
        }
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The sampling fields that are set, by OpenAI's (and vLLM's) names. For an absent field, the server uses its default.
fn sampling_fields(sampling: &Sampling) -> Vec<(&'static str, Value)> {
    let fields = [
        ("ignore_eos", sampling.ignore_eos.then_some(Value::Bool(true))),
        ("temperature", sampling.temperature.map(Value::from)),
        ("top_p", sampling.top_p.map(Value::from)),
        ("top_k", sampling.top_k.map(Value::from)),
        ("min_p", sampling.min_p.map(Value::from)),
        ("frequency_penalty", sampling.frequency_penalty.map(Value::from)),
        ("presence_penalty", sampling.presence_penalty.map(Value::from)),
        ("repetition_penalty", sampling.repetition_penalty.map(Value::from)),
        ("logprobs", sampling.logprobs.map(Value::from)),
        ("use_beam_search", sampling.use_beam_search.then_some(Value::Bool(true))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
mod tests;
