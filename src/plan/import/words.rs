//! Words and names that an import makes.

use kube::ResourceExt;

use crate::api::Developer;
use crate::plan::cluster::ClusterKey;

/// How something is called in messages: with its cluster, if that is not the one that usher runs in.
pub(super) fn in_cluster(name: &str, cluster: &ClusterKey) -> String {
    match cluster {
        ClusterKey::Home => name.to_owned(),
        ClusterKey::Remote(..) => format!("{name} in the cluster of Secret {cluster}"),
    }
}

/// A DNS label of at most so many characters that reads like a text; empty if nothing of it may stand in one.
pub(super) fn label(text: &str, most: usize) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let all: String = text.chars().map(letter).collect();
    let parts: Vec<&str> = all.split('-').filter(|part| !part.is_empty()).collect();
    let joined: String = parts.join("-").chars().take(most).collect();
    joined.trim_end_matches('-').to_owned()
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

/// Whether the API server takes a text for an e-mail address, see [`crate::api::DeveloperSpec::email`].
pub(super) fn is_email(text: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && !part.contains(|it: char| it.is_whitespace() || "@,;<>()\"".contains(it));
    let parts = text.split_once('@');
    (3..=254).contains(&text.len()) && parts.is_some_and(|(local, domain)| plain(local) && domain.split('.').all(plain))
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
        assert_eq!(label("--É-b_", 38), "b");
        assert_eq!(label("abc-def", 4), "abc");
        assert_eq!(label_with("abcdef", "xyz", 6), "ab-xyz");
        assert_eq!(label_with("@", "xyz", 6), "xyz");
    }

    #[test]
    fn addresses_are_those_that_the_schema_takes() {
        for good in ["a@b", "ada@example.com", "ada.l+x@mail.example.com"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "ada", "@b", "a@", "a@b@c", "a b@c", "a@b..c", "a@.b", "<a@b>", "a,b@c"] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn a_prefix_is_no_part_of_a_name() {
        assert_eq!((bare("oidc:ada"), bare("ada"), bare("https://id.example.com#ada")), ("ada", "ada", "ada"));
        assert_eq!((local("ada@x"), local("ada")), ("ada", "ada"));
    }
}
