//! The names of a run's settings in texts.
//!
//! Only the command line knows flags. Other texts name a setting by its path in the
//! [`Spec`](crate::model::run_spec::Spec), in back quotes, such as `` `load.workers` ``. A setting of datasets follows
//! the dataset's name (`` `hf.split` ``), or `dataset` if most datasets have it (`` `dataset.path` ``). A setting of an
//! analysis follows the analysis' name (`` `plan.tpot` ``). If only one value of a setting helps, the text names both:
//! `` `workload.form = text` ``. Code that shows such a text to a user replaces what is quoted by the user's name of the
//! setting.

/// Pairs of a setting as texts name it, without the quotes, and its name for the user: `("load.workers", "--workers")`.
pub(crate) type SettingNames = [(&'static str, &'static str)];

/// Replaces every setting's path in the text by its name for the user. Paths that are not in the table stay. Quotes may
/// be escaped as in Markdown.
pub(crate) fn with_names(text: &str, names: &SettingNames) -> String {
    names.iter().fold(text.to_owned(), |text, (setting, name)| {
        text.replace(&format!("\\`{setting}\\`"), name).replace(&format!("`{setting}`"), name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_called_as_the_table_says_and_other_quotes_stay() {
        let names = [("load.workers", "--workers"), ("seed", "--seed")];
        let text = "raise `ulimit -n`, use more `load.workers`, or another `seed`";
        assert_eq!(with_names(text, &names), "raise `ulimit -n`, use more --workers, or another --seed");
        assert_eq!(with_names(text, &[]), text);
        assert_eq!(with_names("more \\`load.workers\\`", &names), "more --workers", "in Markdown");
    }
}
