//! The public API: its names are few, and the manual lists them.

use std::fs;
use std::path::Path;

use syn::{Attribute, File, Item, UseTree, Visibility};

/// The number of names at the root of the crate, and in `sim`.
const NAMES: [usize; 2] = [65, 14];

#[test]
fn the_public_names_are_few_and_the_manual_lists_them() {
    let [root, sim] = ["src/lib.rs", "src/sim.rs"].map(|path| names(&syn::parse_file(&read(path)).unwrap()));
    assert_eq!([root.len(), sim.len()], NAMES, "{root:#?}\n{sim:#?}");
    let manual = read("docs/library.md");
    let missing: Vec<_> =
        root.iter().chain(&sim).filter(|name| !manual.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/library.md does not name {missing:?}");
}

#[test]
fn a_name_is_counted_once_and_a_hidden_one_not_at_all() {
    let text = "pub use a::{B, C as D, e::{F, g}};\n#[doc(hidden)] pub use h::I;\n#[doc(hidden)] pub mod j {}\n\
                pub fn k() {}\nfn l() {}\nuse m::N;\npub const O: u8 = 0;\npub struct P;\npub(crate) use q::R;\npub mod s;";
    let found = names(&syn::parse_file(text).unwrap());
    assert_eq!(found, ["B", "D", "F", "g", "k", "O", "P"]);
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The names of the public items of a file, without modules.
fn names(file: &File) -> Vec<String> {
    let mut names = Vec::new();
    for item in &file.items {
        let (visibility, attributes, found) = match item {
            Item::Const(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            Item::Enum(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            Item::Fn(item) => (&item.vis, &item.attrs, vec![item.sig.ident.to_string()]),
            Item::Struct(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            Item::Trait(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            Item::Type(item) => (&item.vis, &item.attrs, vec![item.ident.to_string()]),
            Item::Use(item) => (&item.vis, &item.attrs, leaves(&item.tree)),
            _ => continue,
        };
        if matches!(visibility, Visibility::Public(_)) && !attributes.iter().any(is_hidden) {
            names.extend(found);
        }
    }
    names
}

fn is_hidden(attribute: &Attribute) -> bool {
    attribute.path().is_ident("doc")
        && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "hidden")
}

fn leaves(tree: &UseTree) -> Vec<String> {
    match tree {
        UseTree::Path(path) => leaves(&path.tree),
        UseTree::Name(name) => vec![name.ident.to_string()],
        UseTree::Rename(name) => vec![name.rename.to_string()],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
        UseTree::Glob(_) => panic!("a glob hides its names"),
    }
}
