//! The bodies of requests.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Encoding, Model, Wire, form};
use crate::core::spec::{Sampling, Task};
use crate::drive::workload::{Content, Request};

/// What the bodies of a run have in common.
#[derive(Debug, Clone)]
pub struct Template {
    wire: &'static Wire,
    common: Map<String, Value>,
    extra: Map<String, Value>,
}

impl Template {
    /// Bodies in a protocol, for a model by its served name, and a way of sampling.
    pub fn new(wire: &'static Wire, model: &str, sampling: &Sampling) -> Self {
        let mut common = Map::new();
        if let Model::Field(field) = wire.model {
            common.insert(field.into(), model.into());
        }
        if wire.backend.task() == Task::Generation {
            let fields = sampling_fields(sampling).into_iter().map(|(name, value)| (wire.name(name), value));
            wire.parameters(&mut common).extend(fields);
        }
        wire.merge(&mut common, object((wire.fixed)(!sampling.whole)));
        Self { wire, common, extra: sampling.extra_body.clone() }
    }

    /// The body of one request. The extra fields, then the request's own, come last and replace what is there.
    ///
    /// # Panics
    /// On a request that the protocol [cannot say](Wire::cannot_say).
    pub fn body(&self, request: &Request) -> Bytes {
        let wire = self.wire;
        let prompt = (wire.prompt)(&request.content).expect("a run's requests are checked before it");
        let mut body = self.common.clone();
        body.extend(prompt.into_iter().map(|(field, value)| (field.to_owned(), value)));
        if let Some(limit) = wire.limit {
            wire.parameters(&mut body).insert(limit.into(), request.max_tokens.into());
        }
        (wire.adapt)(&mut body);
        wire.merge(&mut body, self.extra.clone());
        if let Some(own) = &request.own {
            if let (Some(model), Model::Field(field) | Model::Own(field)) = (&own.model, wire.model) {
                body.insert(field.into(), model.as_str().into());
            }
            wire.merge(&mut body, own.body.clone());
        }
        match (wire.encoding, &request.content) {
            (Encoding::Form, Content::Audio { wav, .. }) => form::write(&body, wav),
            _ => Value::Object(body).to_string().into(),
        }
    }
}

impl Wire {
    /// A way of sampling as the fields of one request's body, which win over the run's.
    pub fn own_sampling(&self, sampling: &Sampling) -> Map<String, Value> {
        let mut own = Map::new();
        if self.backend.task() == Task::Generation {
            let fields = sampling_fields(sampling).into_iter().map(|(name, value)| (self.name(name), value));
            self.parameters(&mut own).extend(fields);
        }
        self.merge(&mut own, sampling.extra_body.clone());
        own
    }

    /// What OpenAI's sampling field is called here.
    fn name(&self, field: &str) -> String {
        let known = self.names.iter().find(|(name, _)| *name == field);
        known.map_or(field, |(_, here)| here).to_owned()
    }

    /// Where the sampling fields lie.
    fn parameters<'b>(&self, body: &'b mut Map<String, Value>) -> &'b mut Map<String, Value> {
        let Some(object) = self.parameters else { return body };
        let place = body.entry(object).or_insert_with(|| Map::new().into());
        if !place.is_object() {
            *place = Map::new().into();
        }
        place.as_object_mut().expect("it was made one")
    }

    /// Adds fields, which replace what is there. Of the object with the sampling fields, only those that are given.
    fn merge(&self, body: &mut Map<String, Value>, fields: Map<String, Value>) {
        for (name, value) in fields {
            match (value, self.parameters) {
                (Value::Object(inner), Some(object)) if object == name => self.parameters(body).extend(inner),
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

/// The sampling fields that are set, by OpenAI's (and vLLM's) names; an absent one leaves the server its default.
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
