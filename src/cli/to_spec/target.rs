//! Converts the target flags.

use super::positive;
use crate::cli::args::TargetArgs;
use crate::client::address::{Address, OtherOperation};
use crate::model::run_spec::{ConnectionOptions, Target};
use crate::model::secrets;
use crate::model::units::Secret;

/// Builds the target. If `whole`, responses are not streamed, and may come from another path.
pub(super) fn target(args: &TargetArgs, whole: bool) -> Result<Target, String> {
    if let Some(endpoint) = args.endpoint.as_ref().filter(|endpoint| !endpoint.starts_with('/')) {
        return Err(format!(
            "--endpoint is a path and begins with a slash: /{}",
            secrets::mask_url(endpoint)
        ));
    }
    let address = address(args)?;
    let endpoint = address.endpoint(args.endpoint.as_deref(), args.backend, whole).map_err(|error| {
        let OtherOperation { operation, backend, path } = error;
        format!(
            "--base-url {}: it ends in {operation}, but --backend {} uses {path}; choose the backend of this path, or omit the \
             path",
            secrets::mask_url(args.base_url.as_deref().unwrap_or_default()),
            backend.name()
        )
    })?;
    Ok(Target {
        backend: args.backend,
        base_url: address.server(),
        endpoint,
        model: args.model.clone().unwrap_or_default(),
        served_model_name: args.served_model_name.clone(),
        headers: headers(args),
        request_id_prefix: args.request_id_prefix.clone().map(request_id_prefix).transpose()?,
        no_request_id: args.no_request_id,
        accepted_finish_reasons: args.accept_finish_reason.clone(),
        insecure: args.insecure,
        connection: connection(args),
        timeout: positive(args.timeout, "--timeout")?,
    })
}

fn connection(args: &TargetArgs) -> ConnectionOptions {
    ConnectionOptions {
        ca_cert: args.ca_cert.clone(),
        client_cert: args.client_cert.clone(),
        client_key: args.client_key.clone(),
        keepalive: !args.no_keepalive,
        kernel_stamps: !args.no_kernel_stamps,
    }
}

/// Returns the server's address.
fn address(args: &TargetArgs) -> Result<Address, String> {
    let Some(given) = &args.base_url else {
        // An IPv6 address needs brackets.
        let host = match args.host.contains(':') && !args.host.starts_with('[') {
            true => format!("[{}]", args.host),
            false => args.host.clone(),
        };
        return Address::parse(&format!("http://{host}:{}", args.port))
            .map_err(|error| format!("--host {}: {error}", args.host));
    };
    let address =
        Address::parse(given).map_err(|error| format!("--base-url {}: {error}", secrets::mask_url(given)))?;
    match address.has_user() {
        true => Err("--base-url holds a user name or password: send them with --header instead".into()),
        false => Ok(address),
    }
}

/// Checks that the prefix is valid in an HTTP header's value.
fn request_id_prefix(prefix: String) -> Result<String, String> {
    match prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(prefix),
        false => Err(format!(
            "--request-id-prefix {prefix:?}: letters, digits and signs only, as it goes into a header"
        )),
    }
}

/// Returns the user's headers, with `OPENAI_API_KEY` as bearer unless they set the authorization.
fn headers(args: &TargetArgs) -> Vec<(String, Secret)> {
    let mut headers: Vec<_> =
        args.header.iter().map(|pair| (pair.key.to_lowercase(), Secret::new(&pair.value))).collect();
    let key = std::env::var("OPENAI_API_KEY").unwrap_or_default();
    secrets::remember(&key);
    if !key.is_empty() && headers.iter().all(|(name, _)| name != "authorization") {
        headers.push(("authorization".into(), Secret::new(format!("Bearer {key}"))));
    }
    headers
}
