//! Flags that decide where the result goes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use reqwest::Url;

use crate::cli::args::values::{self, Pair, Thresholds};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportStyle {
    /// Header, totals, warnings, latencies with intervals, arrivals, server, steady state
    #[value(aliases = ["servegauge", "text"])]
    Full,
    /// Header and latencies
    Short,
    /// The console block of `vllm bench serve`; warnings go to stderr
    Vllm,
    /// The result as JSON, as with --json
    Json,
}

/// Where the requests of a run are written as Parquet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecordsPlace {
    /// One file, at the end of the run.
    File(PathBuf),
    /// A folder of files that are written while the run goes on.
    Folder(PathBuf),
    /// The URL of a bucket, with a prefix of the names of such files.
    Bucket(String),
}

/// Reads the name of a Parquet file; of a folder, which ends in `/`, exists or is a URL; or the URL of a bucket.
pub(crate) fn records_place(text: &str) -> Result<RecordsPlace, String> {
    let (path, is_url) = match text.split_once("://") {
        Some(("file", _)) => {
            let path = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
            (path.ok_or("write a folder as file:///FOLDER")?, true)
        }
        Some(("s3" | "gs" | "az", _)) if parquet_path(text).is_err() || text.ends_with('/') => {
            return Ok(RecordsPlace::Bucket(text.to_owned()));
        }
        Some(("s3" | "gs" | "az", _)) => {
            return Err(
                "a bucket gets several files while the run goes on: let its URL end in `/`".to_owned()
            );
        }
        Some((other, _)) => {
            return Err(format!(
                "`{other}://` is none of file://, s3://, gs:// and az://; a local file or folder needs no URL"
            ));
        }
        None => (PathBuf::from(text), false),
    };
    let is_parquet = parquet_path(&path.to_string_lossy()).is_ok();
    match text.ends_with('/') || path.is_dir() || (is_url && !is_parquet) {
        true => Ok(RecordsPlace::Folder(path)),
        false if is_parquet => Ok(RecordsPlace::File(path)),
        false => {
            Err("the requests are Parquet: let its name end in `.parquet`, or in `/` for a folder".to_owned())
        }
    }
}

/// Reads the name of a Parquet file. The name says the format, so that it can never be another.
pub(crate) fn parquet_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().is_some_and(|extension| extension == "parquet") {
        true => Ok(path),
        false => Err("the file is Parquet: let its name end in `.parquet`".to_owned()),
    }
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Style of the report on stdout
    #[arg(long, alias = "format", value_enum, value_name = "STYLE", default_value = "full")]
    pub report: ReportStyle,
    /// Print the result as JSON, and the report on stderr
    #[arg(long)]
    pub json: bool,
    /// Save the result as JSON
    #[arg(long)]
    pub save_result: bool,
    /// Save every request with the result; implies --save-result
    #[arg(long)]
    pub save_detailed: bool,
    /// Append the result to the file as a line; implies --save-result
    ///
    /// Otherwise the result replaces the file.
    #[arg(long)]
    pub append_result: bool,
    /// Folder of the result [default: the current folder]
    #[arg(long, value_name = "DIR")]
    pub result_dir: Option<PathBuf>,
    /// File name of the result; implies --save-result
    ///
    /// `-` is the same as --json.
    #[arg(long, visible_alias = "out", alias = "output", value_name = "FILE")]
    pub result_filename: Option<PathBuf>,
    /// Keep the record log in this file
    ///
    /// By default, the log is beside a result that is to be saved, and is removed once the result is saved.
    #[arg(long, value_name = "FILE")]
    pub record_log: Option<PathBuf>,
    /// Write one HTML file with tables and charts, which needs no network
    ///
    /// `servegauge report FILE --html OUT` writes the page of a saved run.
    #[arg(long, value_name = "OUT")]
    pub html: Option<PathBuf>,
    /// Write every request to this Parquet file, folder or bucket, a row each
    ///
    /// The columns are those of the requests in a saved result; --save-detailed adds texts and gaps. Each of several
    /// runs has a file, with the number or the load of the run in its name. A folder, whose name ends in `/`, gets a
    /// file at least each minute while a run goes on, and so does a bucket: s3://, gs:// or az:// with a prefix.
    #[arg(long, value_name = "FILE.parquet", value_parser = records_place)]
    pub save_records: Option<RecordsPlace>,
    /// Do not keep this run as `last` in the cache folder (SERVEGAUGE_KEEP=0 never keeps one)
    #[arg(long)]
    pub no_keep: bool,
    /// Name that replaces the backend in the result's file name
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
    /// Pairs to store in the result
    #[arg(long, value_name = "K=V", num_args = 0.., value_parser = values::pair)]
    pub metadata: Vec<Pair>,
    /// Plot every request in an HTML file beside the result: <result>.timeline.html
    ///
    /// All gaps between tokens stay in memory until the file is written.
    #[arg(long)]
    pub plot_timeline: bool,
    /// Limits of the timeline's color steps for ITL, in milliseconds
    ///
    /// A value may have a unit.
    #[arg(long, value_name = "LIST", default_value = "25,50", value_parser = values::thresholds)]
    pub timeline_itl_thresholds: Thresholds,
    /// Plot histograms of prompt and output lengths beside the result
    ///
    /// The file is <result>.dataset_stats.svg.
    #[arg(long)]
    pub plot_dataset_stats: bool,
    /// Show no progress
    #[arg(long)]
    pub disable_tqdm: bool,
    /// Show progress as plain lines on a terminal too, in place of the live panel
    #[arg(long)]
    pub no_tui: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_whether_it_is_a_folder_or_a_file() {
        let there = tempfile::tempdir().unwrap();
        let there = there.path().display().to_string();
        for folder in ["new/", "a.parquet/", "/a/b/", there.as_str()] {
            assert_eq!(records_place(folder), Ok(RecordsPlace::Folder(folder.into())));
        }
        assert_eq!(records_place("file:///a/b"), Ok(RecordsPlace::Folder("/a/b".into())));
        for file in ["file:///a/b.parquet", "/a/b.parquet"] {
            assert_eq!(records_place(file), Ok(RecordsPlace::File("/a/b.parquet".into())));
        }
        for bucket in ["s3://bucket", "gs://bucket/a", "az://bucket/a.parquet/"] {
            assert_eq!(records_place(bucket), Ok(RecordsPlace::Bucket(bucket.to_owned())));
        }
        for (wrong, why) in [
            ("new", "in `/` for a folder"),
            ("r.csv", "end in `.parquet`"),
            ("s3://bucket/r.parquet", "let its URL end in `/`"),
            ("ftp://host/a/", "`ftp://` is none of"),
            ("file://host/a", "file:///FOLDER"),
        ] {
            let error = records_place(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
