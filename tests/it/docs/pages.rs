//! What pages refer to exists: targets of make, files, sections, reasons, metrics.

use std::collections::BTreeSet;

use usher::telemetry::metrics::Metrics;

use super::{pages, read, reasons, repository};

#[test]
fn every_target_of_make_that_a_page_names_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| line.split_once(':').map(|(target, _)| target)).collect();
    let mut named = 0;
    for (path, text) in pages() {
        for target in targets_in(&text) {
            named += 1;
            assert!(targets.contains(target.as_str()), "{} says `make {target}`, which the Makefile does not have", path.display());
        }
    }
    assert!(named > 5, "pages name targets of make, so if none is found the search is wrong");
}

/// What follows `make ` in code: after a backquote in prose; in a block, where a command begins.
fn targets_in(text: &str) -> Vec<String> {
    let mut block = false;
    let mut targets = Vec::new();
    for line in text.lines() {
        block ^= line.trim_start().starts_with("```");
        let begins = |before: &str| if block { before.trim().is_empty() || before.ends_with("&& ") } else { before.ends_with('`') };
        for (at, word) in line.match_indices("make ").filter(|(at, _)| begins(&line[..*at])) {
            let rest = &line[at + word.len()..];
            targets.extend(rest.split(|letter: char| !letter.is_ascii_lowercase() && letter != '-').next().map(str::to_owned));
        }
    }
    targets.retain(|target| !target.is_empty());
    targets
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for (path, text) in pages() {
        for link in links(&text).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            followed += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().expect("a folder").join(file) };
            assert!(repository().join(&target).exists(), "{} links to {link}, which does not exist", path.display());
            if !anchor.is_empty() {
                assert!(headings(&read(&target)).contains(anchor), "{} links to {link}, and that page has no such heading", path.display());
            }
        }
    }
    assert!(followed > 20, "pages have links, so if none is found the search is wrong");
}

fn links(text: &str) -> impl Iterator<Item = String> {
    text.match_indices("](").map(|(at, _)| text[at + 2..].chars().take_while(|letter| *letter != ')').collect::<String>())
}

/// The anchors that headings get on the usual forges.
fn headings(text: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let kept = heading.trim().to_lowercase();
        kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_')).collect::<String>().replace(' ', "-")
    };
    text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_reason_has_a_remedy() {
    let page = read("docs/troubleshooting.md");
    let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    for (reason, _) in reasons() {
        assert!(
            headings.contains(reason.as_str()),
            "docs/troubleshooting.md has no heading for {reason}: add what it means and its remedy"
        );
    }
    let known: BTreeSet<String> = reasons().into_iter().map(|(reason, _)| reason).collect();
    let strangers: Vec<&&str> = headings.iter().filter(|heading| !heading.contains(' ') && !known.contains(**heading)).collect();
    assert!(strangers.is_empty(), "docs/troubleshooting.md explains {strangers:?}, which usher does not say");
}

#[test]
fn the_page_of_metrics_lists_what_is_measured() {
    // From the source, as a family that was never counted is not in the text.
    let source = read("src/telemetry/metrics.rs");
    let registered = source.split("registry.register(").skip(1).filter_map(|rest| rest.split('"').nth(1));
    let measured: BTreeSet<String> = registered.map(|name| format!("usher_{name}")).collect();
    for line in Metrics::default().text().lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap_or_default();
        assert!(measured.contains(name), "{name} is measured, and was not found in the source: the search is wrong");
    }
    let page = read("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let listed: BTreeSet<String> = rows.filter(|name| name.starts_with("usher_")).map(str::to_owned).collect();
    assert_eq!(listed, measured, "docs/metrics.md on the left, what usher measures on the right");
}
