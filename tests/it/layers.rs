//! The order of the layers, and what the pure ones may not do (ARCHITECTURE.md, "Invariants"), read from the source.

use std::path::{Path, PathBuf};

/// From left to right: each may use itself and what stands before it.
const LAYERS: [&str; 5] = ["api", "plan", "cluster", "controllers", "cli"];
/// Stands beside; from `cluster` upwards everybody may use it, and it uses nobody.
const ASIDE: &str = "telemetry";

/// What has no place where decisions are made: whatever is not a function of what was gathered.
const IMPURE: [&str; 14] = [
    "kube::Client", "kube::Api", "kube::client", "kube::runtime", "tokio", ".await", "async ", "now()", "std::env", "std::fs", "std::thread", "std::net",
    "SystemTime", "Instant",
];

/// The lines of code of a layer, by file and number, without comments.
fn code(layer: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(layer);
    let mut folders = vec![root];
    let mut lines = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of a layer") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
            lines.extend(numbered.map(|(number, line)| (format!("{}:{}", path.display(), number + 1), line.to_owned())));
        }
    }
    assert!(lines.len() > 50, "the layer {layer} has code, so if none is found the search is wrong");
    lines
}

/// The modules of this crate that a line names, as `crate::x` or in `use crate::{x, y}`.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| text.trim().chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>();
    line.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').map(word).collect(),
            None => vec![word(rest)],
        })
        .collect()
}

/// Whether a line has these words, not as the beginning of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let open = word.ends_with(|letter: char| letter.is_alphanumeric());
    line.match_indices(word).any(|(at, _)| !open || !line[at + word.len()..].starts_with(|letter: char| letter.is_alphanumeric() || letter == '_'))
}

#[test]
fn a_layer_uses_only_those_before_it() {
    for (place, layer) in LAYERS.iter().enumerate() {
        for (at, line) in code(layer) {
            for used in named(&line) {
                let allowed = match LAYERS.iter().position(|other| *other == used) {
                    Some(other) => other <= place,
                    None => used != ASIDE || place >= 2,
                };
                assert!(allowed, "{at}: {layer} may not use {used}: {line}");
            }
        }
    }
    for (at, line) in code(ASIDE) {
        assert!(named(&line).iter().all(|used| !LAYERS.contains(&used.as_str())), "{at}: {ASIDE} uses nobody: {line}");
    }
}

#[test]
fn decisions_are_functions_of_what_was_gathered() {
    for layer in ["api", "plan"] {
        for (at, line) in code(layer) {
            let found = IMPURE.iter().find(|word| has_word(&line, word));
            assert!(found.is_none(), "{at}: {layer} may not know {}: {line}", found.unwrap_or(&""));
        }
    }
}

#[test]
fn the_search_sees_what_it_must_refuse() {
    assert_eq!(named("use crate::{api, cluster::memory};"), ["api", "cluster"]);
    assert_eq!(named("let x = crate::controllers::run(crate::plan::y);"), ["controllers", "plan"]);
    assert!(named("use super::name;").is_empty());
    assert!(has_word("let x = y.await;", ".await") && !has_word("self.awaited(x)", ".await"));
}
