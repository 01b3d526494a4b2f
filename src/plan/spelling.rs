//! Texts as the API server takes them: names of objects, and e-mail addresses.

/// A DNS label (RFC 1123) of what somebody or something is called, however long; empty if nothing of it may stand in one.
pub fn label(called: &str) -> String {
    let mut label = String::new();
    for letter in called.to_lowercase().chars() {
        let letter = if letter.is_ascii_lowercase() || letter.is_ascii_digit() { letter } else { '-' };
        if letter != '-' || !label.ends_with('-') {
            label.push(letter);
        }
    }
    label.trim_matches('-').to_owned()
}

/// Whether the schema of Developers takes an address, see [`crate::api::DeveloperSpec::email`].
pub fn is_email(text: &str) -> bool {
    let fine = |part: &str| !part.is_empty() && !part.contains(|it: char| it.is_whitespace() || "@,;<>()\"".contains(it));
    let domain = |domain: &str| domain.split('.').all(fine);
    (3..=254).contains(&text.len()) && text.split_once('@').is_some_and(|(who, at)| fine(who) && domain(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels() {
        for (called, made) in [
            ("Ada", "ada"),
            ("ada.lovelace@example.com", "ada-lovelace-example-com"),
            ("J\u{f6}rg", "j-rg"),
            ("--x_y--", "x-y"),
            ("\u{e4}\u{f6}", ""),
        ] {
            assert_eq!(label(called), made, "{called}");
        }
    }

    #[test]
    fn addresses_are_as_the_schema_takes_them() {
        for fine in ["a@b", "ada@example.com", "ada.l+x@mail.example.com"] {
            assert!(is_email(fine), "{fine}");
        }
        for not in ["", "ada", "@b", "a@", "a@b@c", "a b@c", "a@b..c", "a@.b", "<a@b>", "a,b@c"] {
            assert!(!is_email(not), "{not}");
        }
    }
}
