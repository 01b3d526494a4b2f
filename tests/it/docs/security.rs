//! The page of the security model: each claim is linked to a test that exists, and each attack that is tried is on the page.

use std::collections::BTreeSet;

use super::{read, repository};

const PAGE: &str = "docs/security.md";

/// The tests that the page names: `file` relative to the checkout, and name.
fn named() -> BTreeSet<(String, String)> {
    let page = read(PAGE);
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|--"));
    let links = rows.filter_map(|row| row.rsplit_once("[`")?.1.split_once("`](../"));
    links.map(|(name, file)| (file.trim_end_matches(") |").to_owned(), name.to_owned())).collect()
}

/// The tests in a source file: functions that stand below an attribute of a test.
fn tests_in(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let mut tests = BTreeSet::new();
    let mut below = false;
    for line in text.lines() {
        let name = line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split('(').next());
        if let (true, Some(name)) = (below, name) {
            tests.insert(name.to_owned());
        }
        below = line == "#[tokio::test]" || line == "#[test]" || (below && line.starts_with("#["));
    }
    tests
}

#[test]
fn every_claim_of_the_security_model_names_a_test_that_exists() {
    let named = named();
    assert!(named.len() > 50, "the page names its tests, so if few are found the search is wrong: {named:?}");
    for (file, name) in &named {
        assert!(repository().join(file).exists(), "{PAGE} links to {file}, which does not exist");
        assert!(tests_in(file).contains(name), "{PAGE} names the test {name}, which {file} does not have");
    }
}

/// Tables of claims have a test in each row.
#[test]
fn no_claim_of_the_security_model_is_without_a_test() {
    let page = read(PAGE);
    let mut claims = false;
    for line in page.lines() {
        if !line.starts_with('|') {
            claims = false;
        } else if line.ends_with("| Test |") {
            claims = true;
        } else if claims && !line.starts_with("|--") {
            assert!(line.contains("](../tests/"), "{PAGE} claims without a test: {line}");
        }
    }
}

#[test]
fn every_attack_that_is_tried_stands_in_the_security_model() {
    let named = named();
    let mut tried = 0;
    for entry in std::fs::read_dir(repository().join("tests/cluster/attack")).expect("a folder") {
        let file = format!("tests/cluster/attack/{}", entry.expect("an entry").file_name().to_string_lossy());
        for name in tests_in(&file) {
            tried += 1;
            assert!(named.contains(&(file.clone(), name.clone())), "{PAGE} does not name {name} of {file}: say what it proves");
        }
    }
    assert!(tried > 50, "attacks are tried, so if few are found the search is wrong: {tried}");
}
