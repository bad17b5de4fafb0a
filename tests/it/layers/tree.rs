//! The files of the crate as a whole: which of them name which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::source::Source;

/// All files of the crate.
pub(super) struct Tree {
    pub sources: Vec<Source>,
    /// By module.
    places: BTreeMap<Vec<String>, usize>,
    /// Where a name that is made known again comes from.
    exports: BTreeMap<Vec<String>, Vec<String>>,
    /// Modules that are compiled for tests only.
    tests: BTreeSet<Vec<String>>,
}

impl Tree {
    /// Of files by their path below `src`.
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::read(path, text)).collect();
        let mut places = BTreeMap::new();
        for (place, source) in sources.iter().enumerate().filter(|(_, source)| source.path != "main.rs") {
            places.insert(source.module.clone(), place);
        }
        let exports = sources.iter().flat_map(|source| source.exports.iter().cloned()).collect();
        let modules = sources.iter().flat_map(|source| &source.modules);
        let tests = modules.filter(|module| module.is_test).map(|module| module.path.clone()).collect();
        Self { sources, places, exports, tests }
    }

    /// Of the crate as it is.
    pub(super) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        walk(&root, &root, &mut files);
        assert!(files.len() > 300, "the sources were not found");
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        Self::of(&files)
    }

    /// Whether a file is compiled for tests only.
    pub(super) fn is_for_tests(&self, source: &Source) -> bool {
        (1..=source.module.len()).any(|length| self.tests.contains(&source.module[..length]))
    }

    /// The file in which what a path names is written.
    fn home(&self, path: &[String]) -> Option<usize> {
        let mut path = path.to_vec();
        // Circles of names that are made known again do not compile, so this ends; the limit is for planted ones.
        for _ in 0..16 {
            let export =
                (1..=path.len()).find_map(|length| Some((length, self.exports.get(&path[..length])?)));
            let Some((length, origin)) = export.filter(|(_, origin)| **origin != path) else { break };
            path = [origin.as_slice(), &path[length..]].concat();
        }
        (1..=path.len()).rev().find_map(|length| self.places.get(&path[..length]).copied())
    }

    /// The other files that each file names outside tests. A module may name those it is made of, and they it.
    fn named(&self) -> Vec<BTreeSet<usize>> {
        let named = |source: &Source| {
            if source.module.is_empty() || self.is_for_tests(source) {
                return BTreeSet::new();
            }
            let names = source.names.iter().filter(|name| name.is_ours && !name.is_in_test);
            let homes = names.filter_map(|name| self.home(&name.path));
            let is_apart = |place: &usize| {
                let (one, other) = (&source.module, &self.sources[*place].module);
                !one.starts_with(other) && !other.starts_with(one)
            };
            homes.filter(is_apart).collect()
        };
        self.sources.iter().map(named).collect()
    }

    /// The circles: files that name each other, directly or by way of others, each with those of them that it names.
    pub(super) fn circles(&self) -> Vec<Vec<(&str, Vec<&str>)>> {
        let named = self.named();
        let reached: Vec<BTreeSet<usize>> = (0..named.len()).map(|from| reach(&named, from)).collect();
        let mut circles = BTreeSet::new();
        for (place, reached_here) in reached.iter().enumerate() {
            let circle: BTreeSet<usize> =
                reached_here.iter().copied().filter(|other| reached[*other].contains(&place)).collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        let path = |place: &usize| self.sources[*place].path.as_str();
        let member = |circle: &BTreeSet<usize>, place: &usize| {
            (path(place), named[*place].intersection(circle).map(path).collect())
        };
        circles.iter().map(|circle| circle.iter().map(|place| member(circle, place)).collect()).collect()
    }
}

/// All places that can be reached.
fn reach(named: &[BTreeSet<usize>], from: usize) -> BTreeSet<usize> {
    let (mut reached, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(place) = left.pop() {
        left.extend(named[place].iter().copied().filter(|next| reached.insert(*next)));
    }
    reached
}

fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, root, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            found.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}
