//! How an import is printed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use crate::plan::import::{Import, Left, Sort};

use super::super::table::table;

/// How to print the manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Documents, with what they cannot say as comments above them.
    Yaml,
    /// One List.
    Json,
}

/// At most so many people are named in one line.
const NAMED: usize = 3;

/// The manifests, as kubectl applies them.
pub fn manifests(found: &Import, output: Output) -> String {
    let objects = objects(found);
    match output {
        Output::Json => format!("{:#}\n", json!({"apiVersion": "v1", "kind": "List", "items": objects})),
        Output::Yaml => {
            let documents = objects.iter().map(|object| serde_saphyr::to_string(object).unwrap_or_default());
            let documents: Vec<String> = documents.map(|text| format!("---\n{}\n", text.trim_end())).collect();
            comments(found) + &documents.concat()
        }
    }
}

fn objects(found: &Import) -> Vec<Value> {
    let people = found.developers.iter().map(plain);
    people.chain(found.roles.iter().map(plain)).chain(found.bindings.iter().map(plain)).collect()
}

/// An object without what the API server would fill in by itself.
fn plain(object: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
        spec.retain(|key, value| !(key == "state" && value == "Active"));
    }
    value
}

fn comments(found: &Import) -> String {
    let mut text = format!("# Made by usher import: {}\n", totals(found));
    for row in rows(&found.left, false) {
        // A line break in somebody else's name would end the comment.
        let line = row.join(" | ").replace(char::is_control, " ");
        text.push_str(&format!("# not said: {line}\n"));
    }
    text
}

/// What manifests cannot say, in columns; empty if there is nothing.
pub fn list(found: &Import, all: bool) -> String {
    let rows = rows(&found.left, all);
    if rows.is_empty() { String::new() } else { table(&["LEFT", "WHO", "WHY", "WHAT TO DO"], &rows).trim_end().to_owned() }
}

/// A row for each object and reason; who they are stands together.
fn rows(left: &BTreeSet<Left>, all: bool) -> Vec<Vec<String>> {
    let mut rows: BTreeMap<(Sort, &str, &str, &str), BTreeSet<&str>> = BTreeMap::new();
    for it in left.iter().filter(|it| all || it.sort == Sort::People) {
        rows.entry((it.sort, &it.object, &it.why, &it.remedy)).or_default().insert(&it.who);
    }
    let row = |((_, object, why, remedy), who): ((Sort, &str, &str, &str), BTreeSet<&str>)| {
        let more = who.len().saturating_sub(NAMED);
        let some = who.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
        let who = if more > 0 { format!("{some} and {more} more") } else { some };
        vec![object.to_owned(), who, why.to_owned(), remedy.to_owned()]
    };
    rows.into_iter().map(row).collect()
}

/// How much there is, in one line.
pub fn totals(found: &Import) -> String {
    let count = |sort: Sort| rows_of(found, sort);
    let others: usize = [Sort::Machine, Sort::System, Sort::Usher].into_iter().map(count).sum();
    format!(
        "{} Developers, {} Roles, {} Bindings; {} left, each with a reason; {others} that are no person's (--all)",
        found.developers.len(),
        found.roles.len(),
        found.bindings.len(),
        count(Sort::People),
    )
}

fn rows_of(found: &Import, sort: Sort) -> usize {
    let keys: BTreeSet<_> = found.left.iter().filter(|it| it.sort == sort).map(|it| (&it.object, &it.why, &it.remedy)).collect();
    keys.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Developer, DeveloperSpec};

    fn left(object: &str, who: &str, sort: Sort) -> Left {
        Left { sort, object: object.to_owned(), who: who.to_owned(), why: "why".to_owned(), remedy: "remedy".to_owned() }
    }

    #[test]
    fn what_is_left_stands_above_the_manifests_a_line_for_each_object() {
        let ada = Developer::new("ada", DeveloperSpec { email: "ada@x.org".to_owned(), ..DeveloperSpec::default() });
        let people = ["a", "b\nkind: Role", "c", "d"].map(|who| left("RoleBinding n/x", who, Sort::People));
        let all = people.into_iter().chain([left("RoleBinding n/y", "ServiceAccount n/z", Sort::Machine)]).collect();
        let found = Import { developers: vec![ada], left: all, ..Import::default() };
        assert_eq!(
            manifests(&found, Output::Yaml),
            "# Made by usher import: 1 Developers, 0 Roles, 0 Bindings; 1 left, each with a reason; 1 that are no person's (--all)\n\
             # not said: RoleBinding n/x | a, b kind: Role, c and 1 more | why | remedy\n\
             ---\napiVersion: usher.dev/v1alpha1\nkind: Developer\nmetadata:\n  name: ada\nspec:\n  email: ada@x.org\n"
        );
        assert_eq!((list(&found, false).lines().count(), list(&found, true).lines().count()), (2, 3));
    }
}
