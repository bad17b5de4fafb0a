//! Presets: flags that people set together, under one name.

/// Flags under one name.
pub(super) struct Preset {
    /// The name.
    pub name: &'static str,
    /// Other spellings of the name.
    pub aliases: &'static [&'static str],
    /// The flags and their values.
    pub flags: &'static [(&'static str, &'static str)],
}

/// All presets. Lengths are in tokens; public leaderboards write 1k for 1024.
pub(super) const PRESETS: [Preset; 4] = [
    Preset {
        name: "ladder",
        aliases: &[],
        flags: &[
            ("dataset-name", "random"),
            ("random-input-len", "1024"),
            ("random-output-len", "1024"),
            ("max-concurrency", "1,2,4,8,16,32,64"),
            ("duration", "180"),
        ],
    },
    Preset { name: "1k1k", aliases: &["1k/1k"], flags: &lengths("1024", "1024") },
    Preset { name: "1k8k", aliases: &["1k/8k"], flags: &lengths("1024", "8192") },
    Preset { name: "8k1k", aliases: &["8k/1k"], flags: &lengths("8192", "1024") },
];

/// Flags that decide the same: a preset does not set the first where one of the others is given.
const REPLACED_BY: [(&str, &[&str]); 5] = [
    ("dataset-name", &["dataset-path", "workload"]),
    ("random-input-len", &["dataset-name", "dataset-path", "workload", "input-len"]),
    ("random-output-len", &["dataset-name", "dataset-path", "workload", "output-len"]),
    ("max-concurrency", &["request-rate", "ramp-up-strategy", "stages", "max-active-sessions"]),
    ("duration", &["num-prompts", "num-prompts-factor", "stages"]),
];

/// The flags of random prompts and answers of these lengths.
const fn lengths(input: &'static str, output: &'static str) -> [(&'static str, &'static str); 3] {
    [("dataset-name", "random"), ("random-input-len", input), ("random-output-len", output)]
}

/// Finds a preset by its name.
///
/// # Errors
/// No preset has this name; the message lists those that exist.
pub(super) fn find(name: &str) -> Result<&'static Preset, String> {
    let has_name = |preset: &&Preset| preset.name == name || preset.aliases.contains(&name);
    PRESETS.iter().find(has_name).ok_or_else(|| {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        format!("there is no preset `{name}`; the presets are {}", names.join(", "))
    })
}

/// The flags of a preset, except for those that the given flags replace.
pub(super) fn flags_beside<'a>(
    preset: &'a Preset,
    given: &'a [String],
) -> impl Iterator<Item = (&'static str, &'static str)> + 'a {
    let is_given = |flag: &str| given.iter().any(|given| given == flag);
    preset.flags.iter().copied().filter(move |(flag, _)| {
        let others = REPLACED_BY.iter().find(|(replaced, _)| replaced == flag).map(|(_, others)| *others);
        !others.unwrap_or_default().iter().any(|other| is_given(other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(name: &str, given: &[&str]) -> Vec<&'static str> {
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        flags_beside(find(name).unwrap(), &given).map(|(flag, _)| flag).collect()
    }

    #[test]
    fn presets_have_names_and_other_spellings() {
        assert_eq!(find("8k/1k").unwrap().name, "8k1k");
        let error = find("2k2k").map(|preset| preset.name).unwrap_err();
        assert!(error.ends_with("ladder, 1k1k, 1k8k, 8k1k"), "{error}");
    }

    #[test]
    fn what_is_given_replaces_what_it_excludes() {
        let all = ["dataset-name", "random-input-len", "random-output-len", "max-concurrency", "duration"];
        assert_eq!(beside("ladder", &["model"]), all);
        assert_eq!(beside("ladder", &["request-rate", "num-prompts"]), all[..3]);
        assert_eq!(beside("ladder", &["dataset-path"]), all[3..]);
        assert_eq!(beside("1k8k", &["output-len"]), all[..2]);
    }

    #[test]
    fn every_flag_of_a_preset_exists() {
        let program = crate::cli::command();
        let run = program.find_subcommand("run").unwrap();
        let presets = PRESETS.iter().flat_map(|preset| preset.flags).map(|(flag, _)| *flag);
        let others = REPLACED_BY.iter().flat_map(|(_, others)| *others).copied();
        for name in presets.chain(others) {
            let is_it = |arg: &clap::Arg| {
                arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
            };
            assert!(run.get_arguments().any(is_it), "--{name}");
        }
    }
}
