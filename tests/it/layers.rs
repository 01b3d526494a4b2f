//! The order of the layers (ARCHITECTURE.md): imports point left, and the two on the left know no client, clock, environment, chance or await.
//!
//! `api ← plan ← {connectors, cluster} ← {controllers, server} ← cli ← main`; `telemetry` uses nobody and may be used from `cluster` upwards. Connectors and
//! cluster never meet.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What each part of `src` may use besides itself.
const LAYERS: [(&str, &[&str]); 9] = [
    ("api", &[]),
    ("plan", &["api"]),
    ("telemetry", &[]),
    ("connectors", &["api", "plan", "telemetry"]),
    ("cluster", &["api", "plan", "telemetry"]),
    ("controllers", &["api", "plan", "telemetry", "connectors", "cluster"]),
    ("server", &["api", "plan", "telemetry", "cluster"]),
    ("cli", &["api", "plan", "telemetry", "connectors", "cluster", "controllers", "server"]),
    ("main", &["api", "plan", "telemetry", "connectors", "cluster", "controllers", "server", "cli"]),
];

/// Where decisions are made, as functions of what was gathered.
const PURE: [&str; 2] = ["api", "plan"];

/// What pure layers may not contain, and why.
const BANNED: [(&str, &str); 16] = [
    ("kube::Client", "talks to an API server"),
    ("kube::Api", "talks to an API server"),
    ("kube::runtime", "talks to an API server"),
    ("kube::client", "talks to an API server"),
    ("kube::api", "talks to an API server"),
    ("tokio", "waits"),
    (".await", "waits"),
    ("async", "waits"),
    ("Timestamp::now", "reads the clock: time is an argument"),
    ("SystemTime", "reads the clock: time is an argument"),
    ("Instant::now", "reads the clock: time is an argument"),
    ("std::env", "reads the environment: settings are an argument"),
    ("std::fs", "reads files"),
    ("std::net", "talks to others"),
    ("std::thread", "waits"),
    ("rand", "leaves things to chance"),
];

/// Longer files are hard to keep in mind.
const MOST_LINES: usize = 600;

#[test]
fn imports_point_left_and_pure_layers_are_pure() {
    let mut found = String::new();
    for path in sources("src") {
        let text = std::fs::read_to_string(root().join(&path)).expect("readable");
        for violation in violations(&path, &text) {
            writeln!(found, "{violation}").expect("a String");
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn files_stay_short() {
    let mut found = String::new();
    for path in ["src", "tests", "bench"].into_iter().flat_map(sources) {
        let lines = std::fs::read_to_string(root().join(&path)).expect("readable").lines().count();
        if lines > MOST_LINES {
            writeln!(found, "{} has {lines} lines: divide it, {MOST_LINES} are enough", path.display()).expect("a String");
        }
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn every_part_of_the_source_is_in_a_layer() {
    for entry in std::fs::read_dir(root().join("src")).expect("a folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        let name = name.trim_end_matches(".rs");
        assert!(
            name == "lib" || LAYERS.iter().any(|(layer, _)| *layer == name),
            "src/{name} is in no layer: say in tests/it/layers.rs what it may use"
        );
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(root().join(&folder)) else { continue };
        for entry in entries {
            let path = folder.join(entry.expect("an entry").file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The modules that lead to a file: `src/plan/role/seen.rs` is `plan`, `role`, `seen`.
fn modules(path: &Path) -> Vec<String> {
    let inner = path.strip_prefix("src").unwrap_or(path).with_extension("");
    let mut modules: Vec<String> = inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if modules.last().is_some_and(|last| last == "mod") {
        modules.pop();
    }
    modules
}

/// Everything that is wrong in one file.
fn violations(path: &Path, text: &str) -> Vec<String> {
    let modules = modules(path);
    let Some((layer, may_use)) = LAYERS.iter().find(|(layer, _)| modules.first().is_some_and(|first| first == layer)) else {
        return Vec::new();
    };
    let code = without_comments(text);
    let mut found = Vec::new();
    let mut complain = |line: usize, why: String| {
        found.push(format!("{}:{line}: {why}\n    {}", path.display(), text.lines().nth(line - 1).unwrap_or_default().trim()));
    };
    let mut parts = Vec::new();
    for (line, used) in paths(&code, &modules) {
        let Some(part) = used.strip_prefix("crate::").map(|rest| rest.split("::").next().unwrap_or_default()) else { continue };
        let known = LAYERS.iter().any(|(layer, _)| *layer == part);
        if known && part != *layer && !may_use.contains(&part) && !parts.contains(&(line, part.to_owned())) {
            parts.push((line, part.to_owned()));
            complain(line, format!("{layer} may not use {part}: imports point left"));
        }
    }
    if PURE.contains(layer) {
        let all = paths(&code, &modules).into_iter().chain(code.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned())));
        let mut seen = Vec::new();
        for (line, text) in all {
            for (banned, why) in BANNED.iter().filter(|(banned, _)| names(&text, banned)) {
                if !seen.contains(&(line, *banned)) {
                    seen.push((line, *banned));
                    complain(line, format!("{layer} is pure, and {banned} {why}"));
                }
            }
        }
    }
    found
}

/// Whether a text names something, and not merely something longer.
fn names(text: &str, wanted: &str) -> bool {
    let word = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(wanted).any(|(at, _)| {
        let before = text[..at].chars().next_back().is_some_and(|last| word(last) && wanted.starts_with(word));
        let after = text[at + wanted.len()..].chars().next().is_some_and(word);
        !before && !after
    })
}

/// The text with comments and the content of strings blanked out, line by line.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let mut in_string = false;
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' if in_string => drop(characters.next()),
                '"' => in_string = !in_string,
                '/' if !in_string && characters.peek() == Some(&'/') => break,
                _ if in_string => {}
                _ => code.push(character),
            }
        }
        code.push('\n');
    }
    code
}

/// Every path that starts at the crate's root, with its line; groups are taken apart, `super` is followed to where it leads.
fn paths(code: &str, modules: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let starts = |at: usize| at == 0 || (!is_word(code.as_bytes()[at - 1]) && code.as_bytes()[at - 1] != b':');
    for start in ["crate::", "usher::", "super::", "kube::", "std::", "jiff::"] {
        for (at, _) in code.match_indices(start).filter(|(at, _)| starts(*at)) {
            let line = code[..at].matches('\n').count() + 1;
            let (mut prefix, mut rest) = (start.trim_end_matches("::").to_owned(), &code[at + start.len()..]);
            if start == "usher::" {
                prefix = "crate".to_owned();
            }
            if start == "super::" {
                let mut above = modules.len().saturating_sub(1);
                while let Some(further) = rest.strip_prefix("super::") {
                    above = above.saturating_sub(1);
                    rest = further;
                }
                prefix = ["crate".to_owned()].iter().chain(&modules[..above]).cloned().collect::<Vec<_>>().join("::");
            }
            let mut whole = Vec::new();
            expand(&prefix, rest, &mut whole);
            found.extend(whole.into_iter().map(|path| (line, path)));
        }
    }
    found
}

/// Takes `a::{b, c::{d, e}}` apart.
fn expand(prefix: &str, rest: &str, found: &mut Vec<String>) {
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        let mut depth = 0_usize;
        let mut item = String::new();
        for character in group.chars() {
            match character {
                '}' if depth == 0 => break,
                ',' if depth == 0 => expand(prefix, &std::mem::take(&mut item), found),
                _ => {
                    depth = match character {
                        '{' => depth + 1,
                        '}' => depth - 1,
                        _ => depth,
                    };
                    item.push(character);
                }
            }
        }
        expand(prefix, &item, found);
        return;
    }
    let name: String = rest.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect();
    if name.is_empty() {
        return;
    }
    let path = format!("{prefix}::{name}");
    match rest[name.len()..].strip_prefix("::") {
        Some(further) => expand(&path, further, found),
        None => found.push(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str) -> Vec<String> {
        violations(Path::new(path), text)
    }

    #[test]
    fn a_planted_violation_is_caught_however_it_is_written() {
        for text in [
            "use crate::cluster::memory::Memory;",
            "use crate::{api::Role, cluster::Error};",
            "use crate::{\n    api::Role,\n    controllers::{context::Context, queue},\n};",
            "fn f() { crate::cli::print() }",
            "use super::super::cluster::memory;",
            "use super::super::{cluster, api};",
            "use crate::telemetry::metrics::Metrics;",
        ] {
            assert_eq!(check("src/plan/access.rs", text).len(), 1, "{text}");
        }
        assert_eq!(check("src/plan/role/seen.rs", "use super::super::super::cluster::memory;").len(), 1);
        assert_eq!(check("src/api/role.rs", "use crate::plan::world::World;").len(), 1);
        assert_eq!(check("src/cluster/apply.rs", "use crate::controllers::frame;").len(), 1);
        assert_eq!(check("src/controllers/mod.rs", "use crate::cli::Failure;").len(), 1);
    }

    #[test]
    fn banned_things_are_caught_however_they_are_written() {
        for text in [
            "use kube::Client;",
            "use kube::{Client, ResourceExt};",
            "use kube::{\n    ResourceExt,\n    runtime::watcher,\n};",
            "async fn f() { g().await; }",
            "let now = jiff::Timestamp::now();",
            "let now = Timestamp::now();",
            "let key = std::env::var(name);",
            "use std::{collections::BTreeMap, env};",
            "use std::time::SystemTime;",
            "let start = Instant::now();",
            "tokio::spawn(f());",
            "let number = rand::random();",
        ] {
            assert!(!check("src/plan/access.rs", text).is_empty(), "{text}");
            assert!(check("src/controllers/frame.rs", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_violation_is_shown_with_its_line() {
        let text = "//! A module.\n\nuse crate::cluster::memory::Memory;\n";
        assert_eq!(
            check("src/plan/access.rs", text),
            ["src/plan/access.rs:3: plan may not use cluster: imports point left\n    use crate::cluster::memory::Memory;"]
        );
    }

    #[test]
    fn what_is_allowed_is_no_violation() {
        let text = "//! See [`crate::cluster`].\nuse super::cluster::ClusterState;\nuse crate::api::Role;\nuse std::collections::BTreeMap;\n// tokio\nlet text = \"std::env and tokio\";\nlet random = brand;\n";
        assert_eq!(check("src/plan/access.rs", text), Vec::<String>::new());
        assert_eq!(
            check("src/plan/role/seen.rs", "use super::super::cluster::ClusterState;\nuse super::desired::Desired;"),
            Vec::<String>::new()
        );
        assert_eq!(check("src/main.rs", "use usher::cli::Cli;"), Vec::<String>::new());
    }
}
