//! What a scrape of the operator reads, held against the page that says what it means (docs/metrics.md).

use std::collections::{BTreeMap, BTreeSet};

use super::operator::Operator;
use super::script::repository;

/// The labels of each metric.
pub type Page = BTreeMap<String, BTreeSet<String>>;

/// One line.
#[derive(Debug)]
struct Sample {
    /// As it is written: `usher_reconciles_total`.
    series: String,
    /// As it is documented: `usher_reconciles`.
    metric: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// All lines.
pub struct Scrape(Vec<Sample>);

/// What docs/metrics.md lists.
pub fn page() -> Page {
    let text = std::fs::read_to_string(repository().join("docs/metrics.md")).expect("a page");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = text.lines().filter(|line| line.starts_with("| `usher_"));
    let listed = rows.map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        (quoted(cells[1]).remove(0), quoted(cells[2]).into_iter().collect())
    });
    listed.collect()
}

impl Scrape {
    /// Scrapes an operator.
    pub async fn of(operator: &Operator) -> Result<Self, String> {
        let (code, text) = operator.get("/metrics").await?;
        if code == 200 { Ok(Self::read(&text)) } else { Err(format!("{code} {text}")) }
    }

    fn read(text: &str) -> Self {
        let (mut metric, mut samples) = (String::new(), Vec::new());
        for line in text.lines() {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                metric = told.split(' ').next().expect("a name").to_owned();
            } else if !line.starts_with('#') {
                samples.push(Sample::read(line, &metric));
            }
        }
        Self(samples)
    }

    /// The sum of a series where it has these labels, if it is there.
    pub fn value(&self, series: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &Sample| labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|it| it == value));
        let found: Vec<f64> = self.0.iter().filter(|sample| sample.series == series && has(sample)).map(|sample| sample.value).collect();
        if found.is_empty() { None } else { Some(found.iter().sum()) }
    }

    /// What a series is documented as.
    pub fn metric_of(&self, series: &str) -> Option<&str> {
        self.0.iter().find(|sample| sample.series == series).map(|sample| sample.metric.as_str())
    }

    /// The metrics that are there.
    pub fn metrics(&self) -> BTreeSet<&str> {
        self.0.iter().map(|sample| sample.metric.as_str()).collect()
    }

    /// What does not agree with the page: metrics that it does not list, and other labels than it says.
    pub fn strangers(&self, page: &Page) -> BTreeSet<String> {
        let told = self.0.iter().map(|sample| (&sample.metric, sample.labels.keys().filter(|label| *label != "le").cloned().collect()));
        told.filter(|(metric, labels)| page.get(*metric) != Some(labels)).map(|(metric, labels)| format!("{metric} {labels:?}")).collect()
    }
}

impl Sample {
    #[track_caller]
    fn read(line: &str, metric: &str) -> Self {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let (series, labels) = name.split_once('{').unwrap_or((name, "}"));
        let suffix = series.strip_prefix(metric).unwrap_or_else(|| panic!("{line} comes after the type of {metric:?}"));
        assert!(matches!(suffix, "" | "_total" | "_bucket" | "_sum" | "_count"), "{line} comes after the type of {metric:?}");
        let pairs = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
        let labels = pairs.map(|(label, value)| (label.to_owned(), value.trim_matches('"').to_owned())).collect();
        let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { series: series.to_owned(), metric: metric.to_owned(), labels, value }
    }
}
