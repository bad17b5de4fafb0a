//! Fleets in which some servers compute prompts and others decode: the flags.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::analysis::plan::model::ModelArchitecture;
use crate::cli::args::values;
use crate::cli::commands::plan::fraction;
use crate::cli::exit::CliError;
use crate::model::bounded_file::{self, FileLimit};
use crate::predict::split::{KvLink, KvSize};
use crate::predict::what_if::SplitSetup;

/// Prefill and decode servers.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Prefill and decode servers")]
pub(crate) struct SplitArgs {
    /// Prefill and decode servers, or a list to compare: 1:3, or 1:3,2:2,3:1
    ///
    /// A prefill server computes each prompt, and a decode server reads its keys and values and generates the answer.
    /// Several splits have the same number of servers. They are compared with as many servers that answer whole
    /// requests, on the same arrivals and the same noise. A number alone, such as 4, is a list of all its splits.
    #[arg(long, value_name = "P:D", value_parser = Splits::parse, conflicts_with = "replicas")]
    pub prefill_decode: Option<Splits>,
    /// Link of each server for keys and values: 50GB/s, 400Gbit/s, inf
    #[arg(long, value_name = "RATE", requires = "prefill_decode", value_parser = bandwidth)]
    pub kv_bandwidth: Option<f64>,
    /// Keys and values of a token on all GPUs of a server: 128KiB
    #[arg(long, value_name = "SIZE", requires = "prefill_decode", conflicts_with = "model_config", value_parser = token_bytes)]
    pub kv_bytes_per_token: Option<NonZeroU64>,
    /// config.json of the model, which that size is computed from
    #[arg(long, value_name = "FILE", requires = "prefill_decode")]
    pub model_config: Option<PathBuf>,
}

/// Numbers of prefill and decode servers with one sum, at least one pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Splits(Vec<[usize; 2]>);

/// The largest fleet whose splits are all compared.
const MOST_SPLIT: usize = 32;

impl Splits {
    /// Reads `1:3`, a list, or a number of servers.
    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(servers) = text.trim().parse::<usize>() {
            return match servers {
                2..=MOST_SPLIT => {
                    Ok(Self((1..servers).map(|prefill| [prefill, servers - prefill]).collect()))
                }
                _ => Err(format!("all splits are compared of 2 to {MOST_SPLIT} servers")),
            };
        }
        let pair = |text: &str| -> Result<[usize; 2], String> {
            let (prefill, decode) = text.trim().split_once(':').ok_or("write it as P:D, such as 1:3")?;
            Ok([values::count(prefill.trim())?.get(), values::count(decode.trim())?.get()])
        };
        let splits: Vec<[usize; 2]> = text.split(',').map(pair).collect::<Result<_, _>>()?;
        let sums: Vec<usize> =
            splits.iter().map(|[prefill, decode]| prefill.saturating_add(*decode)).collect();
        if let Some(other) = sums.iter().find(|sum| **sum != sums[0]) {
            return Err(format!(
                "splits of one fleet have the same sum, and these have {} and {other}",
                sums[0]
            ));
        }
        let is_twice = (1..splits.len()).any(|at| splits[..at].contains(&splits[at]));
        if is_twice { Err("a split is in the list twice".into()) } else { Ok(Self(splits)) }
    }
}

/// Reads bytes per second: `50GB/s`, `400Gbit/s`, or `inf`.
fn bandwidth(text: &str) -> Result<f64, String> {
    const FORM: &str = "write it as 50GB/s (bytes), 400Gbit/s (bits) or inf";
    let text = text.trim();
    if text == "inf" {
        return Ok(f64::INFINITY);
    }
    let size = text.strip_suffix("/s").or_else(|| text.strip_suffix("ps")).ok_or(FORM)?;
    let (size, bits) = match size.strip_suffix("bit").or_else(|| size.strip_suffix('b')) {
        Some(size) => (size, 8.0),
        None => (size.strip_suffix('B').ok_or(FORM)?, 1.0),
    };
    let (size, base) = size.strip_suffix('i').map_or((size, 1e3), |size| (size, 1024.0));
    let power = |prefixes: [char; 2]| size.strip_suffix(prefixes);
    let scaled = [(['k', 'K'], 1), (['M', 'M'], 2), (['G', 'G'], 3), (['T', 'T'], 4)];
    let found = scaled.into_iter().find_map(|(prefixes, exponent)| Some((power(prefixes)?, exponent)));
    let (number, exponent) = found.unwrap_or((size, 0));
    match number.trim().parse::<f64>().map(|number| number * f64::powi(base, exponent) / bits) {
        Ok(rate) if rate.is_finite() && rate >= 1.0 => Ok(rate),
        _ => Err(FORM.into()),
    }
}

fn token_bytes(text: &str) -> Result<NonZeroU64, String> {
    NonZeroU64::new(fraction::bytes(text)?)
        .ok_or_else(|| "a token has keys and values: more than 0 bytes".into())
}

/// The split fleets of a command.
#[derive(Debug, Clone, Default)]
pub(super) struct SplitFleets {
    /// The splits in the order given; empty if servers answer whole requests.
    pub setups: Vec<SplitSetup>,
    /// The number of servers of each.
    pub servers: usize,
    /// The size of keys and values, and the links, for reports.
    pub properties: Vec<String>,
}

impl SplitFleets {
    /// Reads the flags. What the others ask for is refused: `autoscales`, and `sizes`, the least number of replicas.
    pub(super) fn read(args: &SplitArgs, autoscales: bool, sizes: bool) -> Result<Self, CliError> {
        let Some(Splits(splits)) = &args.prefill_decode else { return Ok(Self::default()) };
        let refused = [
            (
                autoscales,
                "--autoscale changes the number of servers that answer whole requests; leave it out with \
                 --prefill-decode",
            ),
            (
                sizes,
                "--fleet sizes a fleet of servers that answer whole requests; with --prefill-decode, give a list of \
                 splits such as 1:3,2:2,3:1, which says how often each meets --slo",
            ),
        ];
        if let Some((_, why)) = refused.into_iter().find(|(is_given, _)| *is_given) {
            return Err(CliError::usage(why));
        }
        let bytes_per_second = args.kv_bandwidth.ok_or_else(|| {
            CliError::usage(
                "--prefill-decode needs --kv-bandwidth: what each server's link for keys and values carries, such as \
                 50GB/s or 400Gbit/s",
            )
        })?;
        let (size, origin) = size(args)?;
        let link = KvLink { size, bytes_per_second };
        let speed = match bytes_per_second {
            f64::INFINITY => "links that take no time".to_owned(),
            rate => format!("links of {} GB/s", rate / 1e9),
        };
        Ok(Self {
            setups: splits.iter().map(|[prefill, _]| SplitSetup { prefill: *prefill, link }).collect(),
            servers: splits.first().map_or(0, |[prefill, decode]| prefill + decode),
            properties: vec![origin, speed],
        })
    }

    /// The split whose run is predicted.
    pub(super) fn first(&self) -> Option<SplitSetup> {
        self.setups.first().copied()
    }

    /// What the first split is, for reports.
    pub(super) fn describe(&self) -> Vec<String> {
        let Some(SplitSetup { prefill, .. }) = self.first() else { return Vec::new() };
        let servers = format!("{prefill} prefill and {} decode", self.servers - prefill);
        std::iter::once(servers).chain(self.properties.iter().cloned()).collect()
    }
}

/// The size of keys and values, and a description.
fn size(args: &SplitArgs) -> Result<(KvSize, String), CliError> {
    match (args.kv_bytes_per_token, &args.model_config) {
        (Some(bytes), _) => {
            let size = KvSize { per_token: bytes.get() as f64, ..KvSize::default() };
            Ok((size, format!("{bytes} bytes of KV a token")))
        }
        (None, Some(path)) => size_of_model(path),
        (None, None) => Err(CliError::usage(
            "--prefill-decode needs the size of a token's keys and values, which a model file does not have: give \
             --model-config with the config.json of the model, or --kv-bytes-per-token such as 128KiB",
        )),
    }
}

/// The size of all GPUs' keys and values.
fn size_of_model(path: &Path) -> Result<(KvSize, String), CliError> {
    let text = bounded_file::read_text(path, FileLimit::CONFIG);
    let text = text.map_err(|error| {
        CliError::usage(format!("cannot read --model-config {}: {error}", path.display()))
    })?;
    let model = ModelArchitecture::from_json(path, &text, None).map_err(CliError::usage)?;
    let kv = model.kv_type(None, false).map_err(CliError::usage)?;
    let cost = model.kv_cost(kv, 1).map_err(CliError::usage)?;
    if cost.per_token() <= 0.0 {
        return Err(CliError::usage(format!(
            "--model-config {}: its layers keep no keys and values of a token; give --kv-bytes-per-token",
            path.display()
        )));
    }
    let size = KvSize {
        per_token: cost.full,
        per_windowed_token: cost.windowed,
        window: u32::try_from(cost.window).unwrap_or(u32::MAX),
        per_sequence: cost.state,
    };
    Ok((size, format!("{} bytes of KV a token ({})", cost.per_token(), path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_have_one_sum_and_a_number_is_all_of_its_splits() {
        assert_eq!(Splits::parse("1:3"), Ok(Splits(vec![[1, 3]])));
        assert_eq!(Splits::parse("4"), Splits::parse("1:3, 2:2,3:1"));
        for text in ["", "0:4", "1:0", "1:3,2:1", "1:3,1:3", "1-3", "1", "33", "many"] {
            assert!(Splits::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bandwidths_are_of_bytes_or_bits() {
        assert_eq!((bandwidth("50GB/s"), bandwidth("400Gbit/s")), (Ok(50e9), Ok(50e9)));
        assert_eq!((bandwidth("400 Gbps"), bandwidth("1.5 GiB/s")), (Ok(50e9), Ok(1_610_612_736.0)));
        assert_eq!((bandwidth("200MBps"), bandwidth("inf")), (Ok(200e6), Ok(f64::INFINITY)));
        for text in ["", "50", "50GB", "fast", "-1GB/s", "0GB/s", "nanGB/s", "50XB/s", "1e999GB/s"] {
            assert!(bandwidth(text).is_err(), "{text}");
        }
        assert!(token_bytes("0").is_err() && token_bytes("128KiB").is_ok());
    }
}
