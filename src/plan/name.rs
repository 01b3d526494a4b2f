//! Names of objects, from a digest of what they are for.
//!
//! A digest keeps names unique and bounded whatever the parts contain; the readable part is for people only and is never parsed back.

use data_encoding::{BASE32_DNSCURVE, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::api::metadata::{CLUSTER_PREFIX, ROLE_PREFIX};

/// Ten characters (50 bits) that stand for the parts, in this order.
pub fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut text = BASE32_DNSCURVE.encode(&hash.finalize());
    text.truncate(10);
    text
}

/// A digest of content, for comparing what must not be kept.
pub fn fingerprint(content: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(content))
}

/// A number between 0 and 1 that is always the same for the same text: jitter without chance.
pub fn fraction(text: &str) -> f64 {
    let hash = Sha256::digest(text.as_bytes());
    let mut bytes = [0_u8; 4];
    bytes.iter_mut().zip(hash.iter()).for_each(|(byte, from)| *byte = *from);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

/// The name of a RoleBinding of a Role: the same in every namespace.
pub fn role_binding(role: &str, cluster_role: &str, environment: &str, shard: usize) -> String {
    format!("{ROLE_PREFIX}{role}:{}", digest(&[cluster_role, environment, &shard.to_string()]))
}

/// The name of a ClusterRoleBinding of a Role.
pub fn cluster_role_binding(role: &str, cluster_role: &str, shard: usize) -> String {
    format!("{CLUSTER_PREFIX}{role}:{}", digest(&[cluster_role, &shard.to_string()]))
}

/// The name of the ClusterRole that holds the inline rules of one access entry. `salt` is empty but for a change of rules and
/// places at once, which needs a second object beside the first.
pub fn cluster_role(role: &str, entry: &str, cluster_wide: bool, salt: &str) -> String {
    let prefix = if cluster_wide { CLUSTER_PREFIX } else { ROLE_PREFIX };
    format!("{prefix}{role}:{}", digest(&[entry, salt]))
}

/// The namespace that a template names.
pub fn workspace(template: &str, environment: &str, developer: &str) -> String {
    template.replace("{environment}", environment).replace("{developer}", developer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest(&["a", "bc"]), digest(&["ab", "c"]));
        assert_ne!(digest(&["a"]), digest(&["a", ""]));
    }

    #[test]
    fn digests_fit_labels_and_names() {
        let text = digest(&["whatever"]);
        assert_eq!(text.len(), 10);
        assert!(text.chars().all(|character| character.is_ascii_lowercase() || character.is_ascii_digit()));
    }
}
