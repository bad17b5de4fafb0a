//! A page of the documentation, cut into what the tests look at.

use std::fs;
use std::path::Path;

/// The repository.
pub(super) const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// README.md or a page in docs/.
pub(super) struct Page {
    /// Its path in the repository.
    pub name: String,
    pub text: String,
}

/// A fenced block of code.
pub(super) struct Block {
    /// The first word behind the fence.
    pub language: String,
    /// The file that the block is, where the fence says `file=NAME`.
    pub file: Option<String>,
    pub text: String,
    /// The line of the fence.
    pub line: usize,
}

/// A line of an `sh` block, continued lines joined, without its comment.
pub(super) struct Command {
    /// Page and line.
    pub place: String,
    pub words: Vec<String>,
}

impl Page {
    /// README.md, its translations, and all pages in docs/ but the table of contents.
    pub(super) fn all() -> Vec<Self> {
        let mut pages = Vec::new();
        for folder in ["", "docs/"] {
            for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
                let file = entry.unwrap().file_name().into_string().unwrap();
                let is_page =
                    if folder.is_empty() { file.starts_with("README") } else { file != "SUMMARY.md" };
                if is_page && file.ends_with(".md") {
                    pages.push(Self::named(&format!("{folder}{file}")));
                }
            }
        }
        assert!(pages.len() > 10, "the pages were not found");
        pages
    }

    pub(super) fn named(name: &str) -> Self {
        let text =
            fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), text }
    }

    pub(super) fn is_translation(&self) -> bool {
        self.name.ends_with(".zh-CN.md")
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        let mut indent = 0;
        for (number, line) in self.text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(info), None) => {
                    let file = info.split(' ').find_map(|word| word.strip_prefix("file="));
                    indent = line.len() - line.trim_start().len();
                    open = Some(Block {
                        language: info.split(' ').next().unwrap_or_default().to_owned(),
                        file: file.map(ToOwned::to_owned),
                        text: String::new(),
                        line: number + 1,
                    });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => block.text += &format!("{}\n", line.get(indent..).unwrap_or_default()),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block does not end", self.name);
        blocks.into_iter()
    }

    pub(super) fn commands(&self) -> Vec<Command> {
        let mut commands = Vec::new();
        for block in self.blocks().filter(|block| block.language == "sh") {
            let mut joined = String::new();
            for (number, line) in block.text.lines().enumerate() {
                joined += line.strip_suffix('\\').unwrap_or(line);
                if line.ends_with('\\') {
                    continue;
                }
                let command = std::mem::take(&mut joined);
                let command = command.split(" #").next().unwrap_or_default();
                if command.is_empty() || command.starts_with('#') {
                    continue;
                }
                let place = format!("{}:{}", self.name, block.line + number + 1);
                let words =
                    shlex::split(command).unwrap_or_else(|| panic!("{place}: no shell would take this"));
                commands.push(Command { place, words });
            }
        }
        commands
    }

    /// Targets of links within the repository, with their lines.
    pub(super) fn links(&self) -> Vec<(String, usize)> {
        let mut links = Vec::new();
        let mut is_code = false;
        for (number, line) in self.text.lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            if is_code {
                continue;
            }
            for part in line.split("](").skip(1) {
                let target = part.split(')').next().unwrap_or_default();
                if !target.contains("://") {
                    links.push((target.to_owned(), number + 1));
                }
            }
        }
        links
    }

    /// The code spans of each row of its tables, sorted. A translation must not change them.
    pub(super) fn table_rows(&self) -> Vec<Vec<&str>> {
        let rows = self.text.lines().filter(|line| line.starts_with('|'));
        let mut rows: Vec<Vec<&str>> = rows.map(|row| row.split('`').skip(1).step_by(2).collect()).collect();
        rows.iter_mut().for_each(|row| row.sort_unstable());
        rows
    }

    /// The anchors of its headings, as GitHub and mdBook make them.
    pub(super) fn anchors(&self) -> Vec<String> {
        let mut is_code = false;
        let headings = self.text.lines().filter(|line| {
            is_code ^= line.starts_with("```");
            !is_code && line.starts_with('#')
        });
        let anchor = |heading: &str| {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        headings.map(anchor).collect()
    }

    /// The path in the repository of a file that a link of this page names.
    pub(super) fn beside(&self, path: &str) -> String {
        let folder = self.name.rsplit_once('/').map_or("", |(folder, _)| folder);
        match (folder, path.strip_prefix("../")) {
            ("", _) => path.to_owned(),
            (_, Some(above)) => above.to_owned(),
            (folder, None) => format!("{folder}/{path}"),
        }
    }
}

impl Command {
    /// The program's arguments, if the command runs the program.
    pub(super) fn arguments(&self) -> Option<&[String]> {
        let skip = match self.words.first()?.as_str() {
            "servegauge" => 1,
            "cargo" if self.words.get(1)? == "run" => self.words.iter().position(|word| word == "--")? + 1,
            _ => return None,
        };
        Some(&self.words[skip..])
    }
}
