//! What one source file says, read with syn: which paths it names, which macros it calls, which texts it holds.

use std::collections::HashSet;

use syn::buffer::{Cursor, TokenBuffer};
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, Lit, Meta, UseTree, Visibility};

/// A file of the crate.
pub(super) struct Source {
    /// Relative to `src`, such as `loadgen.rs`.
    pub path: String,
    /// Its module: `loadgen` is `["drive", "engine"]`, the crate's root is empty.
    pub module: Vec<String>,
    pub names: Vec<Name>,
    /// The items that `pub use` re-exports: the path of the new name and the path of the item, both from the crate's root.
    pub exports: Vec<(Vec<String>, Vec<String>)>,
    /// Modules with files of their own.
    pub modules: Vec<Module>,
    /// The names of public modules, those written in the file included.
    pub public_modules: Vec<String>,
    /// Macros that are called outside tests.
    pub macros: Vec<String>,
    /// Texts outside tests, those in attributes and in what macros are given included.
    pub texts: Vec<String>,
}

/// A path that a file names.
pub(super) struct Name {
    /// The path from the crate's root for items of this crate, else the path as written.
    pub path: Vec<String>,
    pub is_ours: bool,
    pub is_in_test: bool,
}

/// `mod name;`
pub(super) struct Module {
    pub path: Vec<String>,
    pub is_test: bool,
}

impl Source {
    /// Reads a file's text.
    pub(super) fn read(path: &str, text: &str) -> Self {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let module = module_of(path);
        let mut children = HashSet::new();
        declared(&file.items, &module, &mut children);
        let source = Self {
            path: path.to_owned(),
            module: module.clone(),
            names: Vec::new(),
            exports: Vec::new(),
            modules: Vec::new(),
            public_modules: Vec::new(),
            macros: Vec::new(),
            texts: Vec::new(),
        };
        let mut reader = Reader { at: module, children, tests: 0, source };
        reader.visit_file(&file);
        reader.source
    }
}

fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if matches!(path, "lib" | "main") { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The paths of all modules that the items declare.
fn declared(items: &[Item], at: &[String], into: &mut HashSet<Vec<String>>) {
    for item in items {
        let Item::Mod(module) = item else { continue };
        let path = [at, &[module.ident.to_string()]].concat();
        if let Some((_, items)) = &module.content {
            declared(items, &path, into);
        }
        into.insert(path);
    }
}

struct Reader {
    /// The module, those written in the file included.
    at: Vec<String>,
    children: HashSet<Vec<String>>,
    /// How many items around are for tests only.
    tests: usize,
    source: Source,
}

impl Reader {
    fn within(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        let is_test = usize::from(attributes.iter().any(is_for_tests));
        self.tests += is_test;
        visit(self);
        self.tests -= is_test;
    }

    fn is_in_test(&self) -> bool {
        self.tests > 0
    }

    /// A path from the crate's root; `None` for another crate's and for what is in scope here.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        match path.first()?.as_str() {
            "crate" | "servegauge" => Some(path[1..].to_vec()),
            "self" => Some([&self.at, &path[1..]].concat()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let left = self.at.len().checked_sub(ups)?;
                Some([&self.at[..left], &path[ups..]].concat())
            }
            first => {
                let child = [self.at.as_slice(), &[first.to_owned()]].concat();
                self.children.contains(&child).then(|| [self.at.as_slice(), path].concat())
            }
        }
    }

    fn name(&mut self, path: Vec<String>) {
        let absolute = self.absolute(&path);
        let is_ours = absolute.is_some();
        let is_in_test = self.is_in_test();
        self.source.names.push(Name { path: absolute.unwrap_or(path), is_ours, is_in_test });
    }

    fn imported(&mut self, tree: &UseTree, path: &mut Vec<String>, is_public: bool) {
        let (ident, alias) = match tree {
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.imported(tree, path, is_public));
            }
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.imported(&part.tree, path, is_public);
                path.pop();
                return;
            }
            UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            UseTree::Rename(name) => (name.ident.to_string(), name.rename.to_string()),
            UseTree::Glob(_) => return self.name(path.clone()),
        };
        let mut whole = path.clone();
        if ident != "self" {
            whole.push(ident);
        }
        if is_public && let Some(absolute) = self.absolute(&whole) {
            self.source.exports.push(([self.at.as_slice(), &[alias]].concat(), absolute));
        }
        self.name(whole);
    }

    fn text(&mut self, text: String) {
        if text.starts_with("crate::") {
            self.name(text.split("::").map(str::to_owned).collect());
        }
        if !self.is_in_test() {
            self.source.texts.push(text);
        }
    }

    /// Reads the tokens of a macro or an attribute. Their meaning is unknown, but paths, macros and texts look as elsewhere.
    fn tokens(&mut self, mut cursor: Cursor<'_>) {
        let mut path: Vec<String> = Vec::new();
        // The number of colons after the last part of the path: 0, 1 or 2.
        let mut colons = 0;
        while !cursor.eof() {
            if let Some((ident, next)) = cursor.ident() {
                if colons != 2 {
                    self.path_in_tokens(&mut path);
                }
                path.push(ident.to_string());
                (cursor, colons) = (next, 0);
            } else if let Some((punct, next)) = cursor.punct() {
                cursor = next;
                match punct.as_char() {
                    ':' if !path.is_empty() => colons += 1,
                    '!' if !path.is_empty() && !self.is_in_test() => {
                        self.source.macros.extend(path.pop());
                        path.clear();
                    }
                    _ => self.path_in_tokens(&mut path),
                }
            } else if let Some((literal, next)) = cursor.literal() {
                self.path_in_tokens(&mut path);
                if let Lit::Str(text) = Lit::new(literal) {
                    self.text(text.value());
                }
                cursor = next;
            } else if let Some((inner, _, _, next)) = cursor.any_group() {
                self.path_in_tokens(&mut path);
                self.tokens(inner);
                cursor = next;
            } else {
                let Some((_, next)) = cursor.token_tree() else { break };
                cursor = next;
            }
        }
        self.path_in_tokens(&mut path);
    }

    fn path_in_tokens(&mut self, path: &mut Vec<String>) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.name(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        self.within(attributes(item), |reader| visit::visit_item(reader, item));
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes: &[Attribute] = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => &[],
        };
        self.within(attributes, |reader| visit::visit_impl_item(reader, item));
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        if matches!(item.vis, Visibility::Public(_)) {
            self.source.public_modules.push(name.clone());
        }
        if item.content.is_none() {
            let path = [self.at.as_slice(), &[name]].concat();
            let is_test = self.is_in_test();
            self.source.modules.push(Module { path, is_test });
            return;
        }
        self.at.push(name);
        visit::visit_item_mod(self, item);
        self.at.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_public = !matches!(item.vis, Visibility::Inherited) && !self.is_in_test();
        self.imported(&item.tree, &mut Vec::new(), is_public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.name(path.segments.iter().map(|part| part.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.visit_path(&called.path);
        let name = called.path.segments.last().map(|part| part.ident.to_string());
        if !self.is_in_test() {
            self.source.macros.extend(name);
        }
        self.tokens(TokenBuffer::new2(called.tokens.clone()).begin());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        match &attribute.meta {
            Meta::List(list) => self.tokens(TokenBuffer::new2(list.tokens.clone()).begin()),
            Meta::NameValue(pair) if !pair.path.is_ident("doc") => self.visit_expr(&pair.value),
            _ => {}
        }
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.text(text.value());
    }
}

/// Whether it is `#[cfg(test)]`, or asks for more than that.
fn is_for_tests(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let words = list.tokens.to_string();
    list.path.is_ident("cfg") && (words == "test" || words.replace(' ', "").starts_with("all(test"))
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
