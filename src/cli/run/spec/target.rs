//! The flags of the target.

use super::positive;
use crate::cli::run::args::TargetArgs;
use crate::core::spec::{Connection, Target};
use crate::core::units::Secret;
use crate::drive::client::wire::Wire;

/// What the flags ask for; `whole` answers may come from another path.
pub fn target(args: &TargetArgs, whole: bool) -> Result<Target, String> {
    let endpoint = args.endpoint.clone().unwrap_or_else(|| Wire::of(args.backend).path(whole).to_owned());
    if !endpoint.starts_with('/') {
        return Err(format!("--endpoint is a path and begins with a slash: /{endpoint}"));
    }
    Ok(Target {
        backend: args.backend,
        base_url: base_url(args)?,
        endpoint,
        model: args.model.clone().unwrap_or_default(),
        served_model_name: args.served_model_name.clone(),
        headers: headers(args),
        request_id_prefix: args.request_id_prefix.clone().map(request_id_prefix).transpose()?,
        insecure: args.insecure,
        connection: connection(args),
        timeout: positive(args.timeout, "--timeout")?,
    })
}

fn connection(args: &TargetArgs) -> Connection {
    Connection {
        ca_cert: args.ca_cert.clone(),
        client_cert: args.client_cert.clone(),
        client_key: args.client_key.clone(),
        keepalive: !args.no_keepalive,
        kernel_stamps: !args.no_kernel_stamps,
    }
}

/// Scheme, host and port, without the path that people paste along.
fn base_url(args: &TargetArgs) -> Result<String, String> {
    let Some(given) = &args.base_url else { return Ok(format!("http://{}:{}", args.host, args.port)) };
    let url = reqwest::Url::parse(given)
        .map_err(|error| format!("--base-url {given}: {error}; write it as http://localhost:8000"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("--base-url {given}: it must begin with http:// or https:// and a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("--base-url holds a user name or password: send them with --header instead".into());
    }
    Ok(given.trim_end_matches('/').trim_end_matches("/v1").to_owned())
}

/// A header's value is what HTTP allows in one.
fn request_id_prefix(prefix: String) -> Result<String, String> {
    match prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(prefix),
        false => Err(format!(
            "--request-id-prefix {prefix:?}: letters, digits and signs only, as it goes into a header"
        )),
    }
}

/// The user's headers, and `OPENAI_API_KEY` as bearer unless they say otherwise.
fn headers(args: &TargetArgs) -> Vec<(String, Secret)> {
    let mut headers: Vec<_> =
        args.header.iter().map(|pair| (pair.key.to_lowercase(), Secret::new(&pair.value))).collect();
    let key = std::env::var("OPENAI_API_KEY").unwrap_or_default();
    if !key.is_empty() && headers.iter().all(|(name, _)| name != "authorization") {
        headers.push(("authorization".into(), Secret::new(format!("Bearer {key}"))));
    }
    headers
}
