//! The page: its parts as values, and the template that they are written with.

use std::io::{self, Write};

use base64::Engine as _;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::chart::Chart;
use super::summary::Summary;
use super::table::Table;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// A part of the page below a heading.
pub(super) struct Section {
    /// The anchor.
    pub id: &'static str,
    /// The heading.
    pub title: &'static str,
    /// Lines below the heading, such as why a chart is absent.
    pub notes: Vec<String>,
    /// The tables.
    pub tables: Vec<NamedTable>,
    /// The charts, each with its table.
    pub charts: Vec<Chart>,
    /// Lines at the end, such as how to read the tables.
    pub remarks: Vec<String>,
}

impl Section {
    /// A section without content.
    pub(super) fn new(id: &'static str, title: &'static str) -> Self {
        Self { id, title, notes: Vec::new(), tables: Vec::new(), charts: Vec::new(), remarks: Vec::new() }
    }

    /// A section that says why it has no content.
    pub(super) fn absent(id: &'static str, title: &'static str, why: impl Into<String>) -> Self {
        Self { notes: vec![why.into()], ..Self::new(id, title) }
    }
}

/// A table with its title.
#[derive(Serialize)]
pub(super) struct NamedTable {
    /// The title.
    pub title: String,
    /// The class: `numbers` aligns all columns but the first at the right.
    pub class: &'static str,
    /// The table.
    pub table: Table,
}

/// The content of a page.
pub(super) struct Page {
    /// The title, of the window too.
    pub title: String,
    /// The line below the title.
    pub subtitle: String,
    /// The verdict and the most important numbers; `None` for a page about several runs.
    pub summary: Option<Summary>,
    /// The sections.
    pub sections: Vec<Section>,
}

/// The template's data.
#[derive(Serialize)]
struct PageView<'a> {
    title: &'a str,
    subtitle: &'a str,
    policy: String,
    style: &'a str,
    script: &'a str,
    summary: Option<&'a Summary>,
    sections: Vec<SectionView<'a>>,
    footer: &'a str,
}

#[derive(Serialize)]
struct SectionView<'a> {
    id: &'a str,
    title: &'a str,
    notes: &'a [String],
    tables: &'a [NamedTable],
    figures: Vec<FigureView<'a>>,
    remarks: &'a [String],
}

#[derive(Serialize)]
struct FigureView<'a> {
    title: &'a str,
    group: &'a str,
    svg: String,
    legend: Vec<(String, &'a str)>,
    note: Option<&'a str>,
    table: &'a Table,
}

impl Page {
    /// Writes the page.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let view = PageView {
            title: &self.title,
            subtitle: &self.subtitle,
            policy: policy(),
            style: STYLE,
            script: SCRIPT,
            summary: self.summary.as_ref(),
            sections: self.sections.iter().map(SectionView::new).collect(),
            footer: concat!("Written by servegauge ", env!("CARGO_PKG_VERSION"), ". Intervals are at 95 %."),
        };
        let environment = Environment::new();
        let page = environment.template_from_named_str("report.html", TEMPLATE).map_err(io::Error::other)?;
        to.write_all(page.render(Serde(view)).map_err(io::Error::other)?.as_bytes())
    }
}

impl<'a> SectionView<'a> {
    fn new(section: &'a Section) -> Self {
        let Section { id, title, notes, tables, charts, remarks } = section;
        Self { id, title, notes, tables, figures: charts.iter().map(FigureView::new).collect(), remarks }
    }
}

impl<'a> FigureView<'a> {
    fn new(chart: &'a Chart) -> Self {
        Self {
            title: &chart.title,
            group: chart.group,
            svg: chart.svg(),
            legend: chart.legend.iter().map(|(key, text)| (key.class(), text.as_str())).collect(),
            note: chart.note.as_deref(),
            table: &chart.table,
        }
    }
}

/// The content security policy: nothing is loaded, and only the style and the script of the page itself apply.
fn policy() -> String {
    let hash = |text: &str| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}
