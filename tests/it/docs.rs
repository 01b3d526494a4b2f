//! The documentation is true: it is generated from the source or compared with it.

mod health;
pub mod manifests;
mod pages;
mod proofs;
mod providers;
mod reference;
mod security;

use std::path::{Path, PathBuf};

/// The checkout.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page that people read: its path below the checkout, and its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut files: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "charts/usher/README.md"].map(PathBuf::from).to_vec();
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(repository().join(&folder)).expect("a folder") {
            let path = folder.join(entry.expect("an entry").file_name());
            if repository().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.into_iter().map(|path| (path.clone(), read(path))).collect()
}

/// The blocks of a page between ``` fences of this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        match block.take() {
            None => block = (line.trim_start() == fence).then(String::new),
            Some(whole) if line.trim_start() == "```" => blocks.push(whole),
            Some(begun) => block = Some(begun + line + "\n"),
        }
    }
    assert!(block.is_none(), "a block of {language} that does not end");
    blocks
}

/// The variants of an enum in a source file, with their doc comments.
fn variants(source: &str, name: &str) -> Vec<(String, String)> {
    let start = source.find(&format!("pub enum {name} {{")).unwrap_or_else(|| panic!("an enum {name}"));
    let body = source[start..].lines().skip(1).take_while(|line| *line != "}");
    let mut variants = Vec::new();
    let mut comment = String::new();
    for line in body.map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            comment = format!("{comment} {}", text.trim()).trim().to_owned();
        } else if let Some(variant) = line.strip_suffix(',') {
            variants.push((variant.to_owned(), std::mem::take(&mut comment)));
        }
    }
    assert!(!variants.is_empty(), "{name} has variants");
    variants
}

/// The reasons of conditions, as the source has them.
fn reasons() -> Vec<(String, String)> {
    variants(&read("src/api/condition.rs"), "Reason")
}
