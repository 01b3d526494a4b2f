//! Whether one ClusterRole allows all that another one does.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::plan::cluster::ClusterKey;

/// What ClusterRoles allow, by cluster and name.
pub type Rules = BTreeMap<ClusterKey, BTreeMap<String, Vec<PolicyRule>>>;

/// Whether who holds one ClusterRole may do all that another one allows. One of which nothing is known covers itself only.
pub fn covers(rules: &Rules, cluster: &ClusterKey, held: &str, needed: &str) -> bool {
    let within = || {
        let needed = rules.get(cluster)?.get(needed)?;
        // One without rules is one that is still put together from others, as far as anybody knows.
        Some(!needed.is_empty() && needed.iter().all(|rule| allows(rules, cluster, held, rule)))
    };
    held == needed || within().unwrap_or_default()
}

/// Whether who holds a ClusterRole may do all that a rule allows.
pub fn allows(rules: &Rules, cluster: &ClusterKey, held: &str, needed: &PolicyRule) -> bool {
    rules.get(cluster).and_then(|all| all.get(held)).is_some_and(|held| allowed(needed, held))
}

/// Whether rules allow all that one does.
fn allowed(needed: &PolicyRule, held: &[PolicyRule]) -> bool {
    let each = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    needed.verbs.iter().all(|verb| {
        let paths = each(&needed.non_resource_urls).iter().all(|path| held.iter().any(|rule| has(&rule.verbs, verb) && leads(rule, path)));
        let resources = each(&needed.api_groups).iter().all(|group| {
            each(&needed.resources).iter().all(|resource| {
                let with = held.iter().filter(|rule| has(&rule.verbs, verb) && gives(rule, group, resource)).collect::<Vec<_>>();
                named(needed).map_or_else(
                    || with.iter().any(|rule| named(rule).is_none()),
                    |names| names.iter().all(|name| with.iter().any(|rule| named(rule).is_none_or(|names| names.contains(name)))),
                )
            })
        });
        paths && resources
    })
}

/// Whether a list of a rule has a word, or all of them.
pub(super) fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|it| it == "*" || it == word)
}

/// The objects that a rule is limited to, if it is.
fn named(rule: &PolicyRule) -> Option<&Vec<String>> {
    rule.resource_names.as_ref().filter(|names| !names.is_empty())
}

/// Whether a rule is about a resource, written as rules write it: `pods`, or `pods/log`.
pub(super) fn gives(rule: &PolicyRule, group: &str, resource: &str) -> bool {
    let parts = resource.split_once('/').map(|(_, part)| format!("*/{part}"));
    let resources = rule.resources.as_deref().unwrap_or_default();
    has(rule.api_groups.as_deref().unwrap_or_default(), group)
        && (has(resources, resource) || parts.is_some_and(|parts| resources.contains(&parts)))
}

fn leads(rule: &PolicyRule, path: &str) -> bool {
    has(rule.non_resource_urls.as_deref().unwrap_or_default(), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], resources: &[&str], names: &[&str]) -> PolicyRule {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(list(resources)),
            resource_names: Some(list(names)),
            verbs: list(verbs),
            non_resource_urls: None,
        }
    }

    fn says(held: &[PolicyRule], needed: &[PolicyRule]) -> bool {
        let all = BTreeMap::from([("held".to_owned(), held.to_vec()), ("needed".to_owned(), needed.to_vec())]);
        covers(&BTreeMap::from([(ClusterKey::Home, all)]), &ClusterKey::Home, "held", "needed")
    }

    #[test]
    fn rules_cover_what_they_name_together_and_nothing_else() {
        let two = [rule(&["get", "list"], &["pods"], &[]), rule(&["create"], &["pods/exec"], &[])];
        assert!(says(&two, &[rule(&["get"], &["pods"], &[]), rule(&["create"], &["pods/exec"], &[])]));
        assert!(!says(&two, &[rule(&["get", "create"], &["pods"], &[])]));
        assert!(!says(&two, &[rule(&["get"], &["pods", "secrets"], &[])]));
    }

    #[test]
    fn a_star_covers_every_word_and_no_word_covers_a_star() {
        assert!(says(&[rule(&["*"], &["*"], &[])], &[rule(&["*"], &["pods/log"], &[])]));
        assert!(says(&[rule(&["get"], &["*/log"], &[])], &[rule(&["get"], &["pods/log"], &[])]));
        assert!(!says(&[rule(&["get", "list"], &["pods"], &[])], &[rule(&["*"], &["pods"], &[])]));
    }

    #[test]
    fn names_of_objects_narrow() {
        assert!(says(&[rule(&["get"], &["pods"], &[])], &[rule(&["get"], &["pods"], &["a"])]));
        assert!(says(&[rule(&["get"], &["pods"], &["a", "b"])], &[rule(&["get"], &["pods"], &["a"])]));
        assert!(!says(&[rule(&["get"], &["pods"], &["a"])], &[rule(&["get"], &["pods"], &[])]));
    }

    #[test]
    fn what_has_no_rules_yet_is_covered_by_nothing_but_itself() {
        assert!(!says(&[rule(&["*"], &["*"], &[])], &[]));
        assert!(covers(&Rules::new(), &ClusterKey::Home, "edit", "edit"));
        assert!(!covers(&Rules::new(), &ClusterKey::Home, "edit", "view"));
    }
}
