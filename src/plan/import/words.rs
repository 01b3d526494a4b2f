//! Words and names that an import makes.

use kube::ResourceExt;

use crate::api::Developer;
use crate::plan::cluster::ClusterKey;
use crate::plan::spelling;

/// How something is called in messages: with its cluster, if that is not the one that usher runs in.
pub(super) fn in_cluster(name: &str, cluster: &ClusterKey) -> String {
    match cluster {
        ClusterKey::Home => name.to_owned(),
        ClusterKey::Remote(..) => format!("{name} in the cluster of Secret {cluster}"),
    }
}

/// A DNS label of at most so many characters that reads like a text; empty if nothing of it may stand in one.
pub(super) fn label(text: &str, most: usize) -> String {
    let short: String = spelling::label(text).chars().take(most).collect();
    short.trim_end_matches('-').to_owned()
}

/// The same with an end that tells it from others.
pub(super) fn label_with(text: &str, end: &str, most: usize) -> String {
    let head = label(text, most.saturating_sub(end.len() + 1));
    if head.is_empty() { end.to_owned() } else { format!("{head}-{end}") }
}

/// A user name without the prefix of the authenticator: what follows the last colon or hash.
pub(super) fn bare(user: &str) -> &str {
    user.rsplit_once([':', '#']).map_or(user, |(_, rest)| rest)
}

/// What stands before the @ of an e-mail address, if it is one.
pub(super) fn local(text: &str) -> &str {
    text.split_once('@').map_or(text, |(local, _)| local)
}

/// By what else than her name people call a Developer.
pub(super) fn aliases(developer: &Developer) -> impl Iterator<Item = String> {
    let spec = &developer.spec;
    let of = [Some(developer.name_any()), Some(spec.email.clone()), Some(local(&spec.email).to_owned()), spec.username.clone()];
    of.into_iter().flatten().map(|alias| alias.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_plain() {
        assert_eq!(label("Ada.Lovelace", 38), "ada-lovelace");
        assert_eq!(label("abc-def", 4), "abc");
        assert_eq!(label_with("abcdef", "xyz", 6), "ab-xyz");
        assert_eq!(label_with("@", "xyz", 6), "xyz");
    }

    #[test]
    fn a_prefix_is_no_part_of_a_name() {
        assert_eq!((bare("oidc:ada"), bare("ada"), bare("https://id.example.com#ada")), ("ada", "ada", "ada"));
        assert_eq!((local("ada@x"), local("ada")), ("ada", "ada"));
    }
}
