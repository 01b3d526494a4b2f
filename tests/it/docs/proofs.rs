//! A page that names a test as proof names one that exists.

use super::{pages, read};

#[test]
fn every_test_that_a_page_names_is_there() {
    let mut named = 0;
    for (path, text) in pages() {
        for (test, file) in proofs(&text) {
            named += 1;
            let target = path.parent().expect("a folder").join(&file);
            let source = read(&target);
            let function = format!("fn {test}(");
            let at = source.find(&function).unwrap_or_else(|| panic!("{}: {file} has no test {test}", path.display()));
            let before = source[..at].trim_end_matches("async ").trim_end();
            let attributes = before.rsplit("\n\n").next().unwrap_or_default();
            assert!(attributes.contains("test]") || attributes.contains("test("), "{}: {test} in {file} is no test", path.display());
        }
    }
    assert!(named > 10, "pages name tests, so if none is found the search is wrong");
}

/// Links from the name of a test, as code, to a file of tests.
fn proofs(text: &str) -> Vec<(String, String)> {
    let links = text.match_indices("`](").filter_map(|(at, between)| {
        let test = text[..at].rsplit("[`").next()?;
        let file = text[at + between.len()..].split(')').next()?;
        std::path::Path::new(file).extension().is_some_and(|ending| ending == "rs").then(|| (test.to_owned(), file.to_owned()))
    });
    links.collect()
}
