//! The run that a launcher starts on each host.

use std::num::NonZeroUsize;

use crate::cli::args::RecordsPlace;
use crate::cli::commands::run::{RunCommandLine, check_shareable};
use crate::cli::exit::CliError;
use crate::model::run_spec::Spec;
use crate::model::secrets;
use crate::model::shard::Shard;
use crate::model::units::Secret;
use crate::shards::PORT;

/// Environment variables with secrets that a run uses.
const SECRETS: [&str; 2] = ["OPENAI_API_KEY", "HF_TOKEN"];

/// The beginnings of the variables of object stores, which `--records-to` and `--save-records` use.
const OF_OBJECT_STORES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// Flags of `run` that say something else than what the launcher starts, each with the reason.
const REFUSED: [(&str, &str); 2] = [
    ("shard", "the launcher gives each process its shard"),
    ("local-shards", "the launcher starts the processes"),
];

/// Other commands whose runs several clients can send.
const OTHERS: [&str; 3] = ["ab", "gate", "search"];

/// A run that several clients can send together.
pub(super) struct SharedRun {
    /// The words that follow the program's name.
    words: Vec<String>,
    /// The flags of the run.
    pub line: RunCommandLine,
    /// What the flags request.
    pub spec: Spec,
}

impl SharedRun {
    /// Parses the words after `--` as `run` does.
    ///
    /// # Errors
    /// If `run` would refuse the words, if several clients cannot send such a run, or if a word has a secret.
    pub(super) fn parse(words: &[String], shards: NonZeroUsize) -> Result<Self, CliError> {
        let wrong = |why| CliError::usage(format!("after `--`: {why}; see `servegauge run --help`"));
        if let Some(other) = words.first().filter(|word| OTHERS.contains(&word.as_str())) {
            return Err(CliError::usage(format!(
                "after `--`: only `run` is launched, not `{other}`: start the processes of `{other}` with --shard auto among its \
                 flags of `run`"
            )));
        }
        let line = RunCommandLine::parse_with_ladder(words).map_err(wrong)?;
        let refused = REFUSED.iter().find(|(flag, _)| line.gives(flag));
        let recover = line.args.configuration.recover.as_ref();
        let recover = recover.map(|_| ("recover", "it reads a log of this machine, and measures nothing"));
        if let Some((flag, why)) = refused.copied().or(recover) {
            return Err(CliError::usage(format!("after `--`: --{flag}: {why}")));
        }
        if let Some((word, _)) =
            words.iter().zip(secrets::mask_args(words)).find(|(word, shown)| *word != shown)
        {
            let flag =
                words.iter().take_while(|other| *other != word).filter(|word| word.starts_with('-')).last();
            let flag = if word.starts_with('-') { Some(word) } else { flag };
            let flag = flag.map_or("a word", |flag| flag.split('=').next().unwrap_or(flag));
            return Err(CliError::usage(format!(
                "after `--`: {flag} has a secret, which the printed command would show: set it in the environment, as \
                 OPENAI_API_KEY or as a variable such as SERVEGAUGE_HEADER"
            )));
        }
        let spec = line.spec().map_err(wrong)?;
        let first = Shard::new(0, shards).unwrap_or(Shard::WHOLE);
        check_shareable(&line.args, &spec, first)?;
        let flags = words.strip_prefix(&["run".to_owned()]).unwrap_or(words);
        let words = std::iter::once("run".to_owned()).chain(flags.iter().cloned()).collect();
        Ok(Self { words, line, spec })
    }

    /// The words of one process, which finds its shard in its environment. `host` is that of shard 0, if its address is
    /// neither a flag of the run nor in the environment.
    pub(super) fn words_of_each(&self, host: Option<&str>) -> Vec<String> {
        let mut words = self.words.clone();
        words.extend(["--shard".to_owned(), "auto".to_owned()]);
        if let (Some(host), false) = (host, self.line.gives("rendezvous")) {
            let scheme = if self.line.gives("rendezvous-cert") { "https://" } else { "" };
            words.extend(["--rendezvous".to_owned(), format!("{scheme}{host}:{PORT}")]);
        }
        words
    }
}

/// The environment variables that the run's processes need: those with secrets that are set here, those of an object
/// store, and those that `pass_env` names.
///
/// # Errors
/// If a named variable is not set.
pub(super) fn passed_variables(
    run: &SharedRun,
    pass_env: &[String],
) -> Result<Vec<(String, Secret)>, CliError> {
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut passed = Vec::new();
    let of_store = |name: &str| OF_OBJECT_STORES.iter().any(|beginning| name.starts_with(beginning));
    let saves_to_bucket = matches!(run.line.args.output.save_records, Some(RecordsPlace::Bucket(_)));
    let needs_store = run.line.gives("records-to") || saves_to_bucket;
    let is_used = |name: &str| SECRETS.contains(&name) || (needs_store && of_store(name));
    // A variable that is no text is none of these.
    let mut names: Vec<String> =
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    names.retain(|name| is_used(name) && !pass_env.contains(name));
    names.sort_unstable();
    for name in names {
        passed.extend(value(&name).map(|value| (name, Secret::new(value))));
    }
    for name in pass_env {
        let value = value(name).ok_or_else(|| {
            CliError::usage(format!("--pass-env {name}: there is no environment variable of this name here"))
        })?;
        passed.push((name.clone(), Secret::new(value)));
    }
    Ok(passed)
}

/// Quotes words for a shell.
pub(super) fn shell_line(words: &[String]) -> Result<String, CliError> {
    shlex::try_join(words.iter().map(String::as_str))
        .map_err(|error| CliError::usage(format!("after `--`: a word cannot be quoted for a shell: {error}")))
}

/// Reads the name of a job: one that Kubernetes accepts for a service, which a host name begins with.
pub(super) fn job_name(text: &str) -> Result<String, String> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.len() <= 48
        && text.chars().all(is_inner);
    match is_name {
        true => Ok(text.to_owned()),
        false => {
            Err("a name here begins with a letter and has at most 48 of a-z, 0-9 and -, such as load-test"
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<SharedRun, String> {
        let words = shlex::split(line).unwrap();
        SharedRun::parse(&words, NonZeroUsize::new(4).unwrap()).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn each_process_gets_the_words_and_finds_its_shard() {
        let run = parse("run --base-url http://a:1 --label 'a<b c'").unwrap();
        let words = run.words_of_each(Some("job-0.job"));
        assert_eq!(
            shell_line(&words).unwrap(),
            "run --base-url http://a:1 --label 'a<b c' --shard auto --rendezvous job-0.job:7707"
        );
        let own = parse("--base-url http://a:1 --rendezvous b:9").unwrap();
        assert_eq!(
            own.words_of_each(Some("c")).join(" "),
            "run --base-url http://a:1 --rendezvous b:9 --shard auto"
        );
    }

    #[test]
    fn a_mistake_in_the_run_is_refused_before_any_host_starts_it() {
        let cases = [
            ("run --request-rat 5", "--request-rat"),
            ("run --request-rate -5", "after `--`"),
            ("run --shard 0/2", "--shard: the launcher"),
            ("run --local-shards 2", "--local-shards: the launcher"),
            ("run --recover a.reclog", "--recover: it reads"),
            ("run --rendezvous-ca ca.pem", "shard 0 needs a certificate for TLS"),
            ("run --rendezvous-cert a.pem", "--rendezvous-cert needs --rendezvous-key FILE"),
            ("run --rendezvous http://a:1 --rendezvous-cert a --rendezvous-key b", "an address without TLS"),
            ("run --max-concurrency 3", "cannot be split into 4 shards"),
            ("run --max-concurrency 8,3", "cannot be split into 4 shards"),
            ("run --max-concurrency 8,16 --repeats 3", "--repeats measures one load"),
            ("run --sim", "servegauge sim"),
            ("search --slo ttft.p95<2s -- run", "only `run` is launched, not `search`"),
        ];
        for (line, why) in cases {
            let error = parse(line).err().unwrap_or_else(|| panic!("{line} is accepted"));
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn a_run_with_tls_joins_an_address_with_tls() {
        let tls = "--rendezvous-cert tls.crt --rendezvous-key tls.key";
        let words = parse(&format!("run {tls}")).unwrap().words_of_each(Some("node0")).join(" ");
        assert_eq!(words, format!("run {tls} --shard auto --rendezvous https://node0:7707"));
        let derived = parse(&format!("run {tls}")).unwrap().words_of_each(None).join(" ");
        assert_eq!(derived, format!("run {tls} --shard auto"));
    }

    #[test]
    fn a_ladder_and_repeats_are_launched() {
        for line in ["run --request-rate 5,10 --until ttft.p95>2s", "run --repeats 3", "run --preset 1k1k"] {
            let words = parse(line).unwrap().words_of_each(None).join(" ");
            assert_eq!(words, format!("{line} --shard auto"));
        }
    }

    #[test]
    fn a_secret_in_the_words_is_refused_without_showing_it() {
        for (line, flag) in [
            ("run --base-url http://a:1 --header 'Authorization=Bearer sesame-7f3a'", "--header"),
            ("run --header=x-key=sesame-7f3a", "--header"),
            ("run --base-url 'http://a:1/v1?key=sesame-7f3a'", "--base-url"),
        ] {
            let error = parse(line).err().unwrap();
            assert!(error.contains(&format!("{flag} has a secret")) && !error.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn a_name_of_a_job_is_one_of_a_service() {
        for name in ["servegauge", "a", "load-test-2"] {
            assert_eq!(job_name(name).as_deref(), Ok(name));
        }
        for wrong in ["", "2fast", "-a", "a-", "Load", "a b", "a.b", "a\nb", &"a".repeat(49)] {
            assert!(job_name(wrong).is_err(), "{wrong}");
        }
    }
}
