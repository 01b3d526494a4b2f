//! What is printed and written.

use std::path::Path;

use serde::Serialize;

/// One line of the result.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What was measured, with its unit.
    pub what: String,
    /// usher's figure.
    pub value: f64,
    /// What it is compared with.
    pub baseline: Option<f64>,
    /// `value` ÷ `baseline`.
    pub ratio: Option<f64>,
    /// What the ratio must not exceed; the value itself where there is no baseline.
    pub must: Option<f64>,
    /// Whether it does not.
    pub pass: Option<bool>,
    /// Only one of many: in the JSON, and not in the table.
    #[serde(skip)]
    detail: bool,
}

impl Row {
    /// A figure to know. It is told at once: whoever stops a long run keeps what there is.
    pub fn note(what: impl Into<String>, value: f64) -> Self {
        let row = Self { detail: false, ..Self::detail(what, value) };
        eprintln!("  {}: {value:.2}", row.what);
        row
    }

    /// One of many figures to know, for the JSON only.
    pub fn detail(what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value, baseline: None, ratio: None, must: None, pass: None, detail: true }
    }

    /// A figure beside another.
    pub fn beside(what: impl Into<String>, value: f64, baseline: f64) -> Self {
        Self { baseline: Some(baseline), ratio: Some(value / baseline), ..Self::note(what, value) }
    }

    /// A figure that is less than so much.
    pub fn below(what: impl Into<String>, value: f64, must: f64) -> Self {
        Self { must: Some(must), pass: Some(value < must), ..Self::note(what, value) }
    }

    /// A figure that is at most so much.
    pub fn most(what: impl Into<String>, value: f64, must: f64) -> Self {
        Self { must: Some(must), pass: Some(value <= must), ..Self::note(what, value) }
    }

    /// A figure that is at most so many times another.
    pub fn at_most(what: impl Into<String>, value: f64, baseline: f64, must: f64) -> Self {
        Self { must: Some(must), pass: Some(value / baseline <= must), ..Self::beside(what, value, baseline) }
    }
}

/// Prints the table.
pub fn print(rows: &[Row]) {
    let rows: Vec<&Row> = rows.iter().filter(|row| !row.detail).collect();
    let width = rows.iter().map(|row| row.what.chars().count()).max().unwrap_or_default();
    println!("{:width$} {:>10} {:>10} {:>7} {:>7}  pass", "what", "usher", "baseline", "ratio", "must");
    for row in rows {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        let must = row.must.map_or_else(String::new, |must| format!("≤ {must}"));
        let pass = row.pass.map_or("", |pass| if pass { "yes" } else { "NO" });
        let (value, baseline, ratio) = (number(Some(row.value)), number(row.baseline), number(row.ratio));
        println!("{:width$} {value:>10} {baseline:>10} {ratio:>7} {must:>7}  {pass}", row.what);
    }
}

/// Writes the rows as JSON.
pub fn write(file: &Path, rows: &[Row]) {
    if let Some(folder) = file.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    let text = serde_json::to_string_pretty(rows).expect("JSON");
    std::fs::write(file, text + "\n").unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
}
