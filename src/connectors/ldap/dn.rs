//! Distinguished names (RFC 4514), as far as two spellings of one name must be known to be the same.

use ldap3::dn_escape;

/// Between the parts of a name in [`canonical`]; in no value, as it is a control character that is never escaped into one.
const NEXT: char = '\u{1}';

/// One spelling for all spellings of a name: without regard to case, to spaces around its parts and to how characters are escaped. Nothing if it is no name.
pub(super) fn canonical(dn: &str) -> Option<String> {
    let parts = split(dn, |character| matches!(character, ',' | ';'));
    let parts: Option<Vec<String>> = parts.into_iter().map(canonical_part).collect();
    Some(parts?.join(&NEXT.to_string()))
}

/// A part, such as `uid=ada` or `cn=ada+ou=people`.
fn canonical_part(part: &str) -> Option<String> {
    let pairs = split(part, |character| character == '+').into_iter().map(pair);
    let pairs: Option<Vec<(String, String)>> = pairs.collect();
    let mut pairs: Vec<String> = pairs?.into_iter().map(|(name, value)| format!("{name}={}", folded(&value))).collect();
    pairs.sort();
    Some(pairs.join("+"))
}

/// Values compare without regard to case and to how many spaces there are.
fn folded(value: &str) -> String {
    value.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The attribute, in small letters, and the value that name an entry among its siblings.
pub(super) fn naming(dn: &str) -> Option<(String, String)> {
    let first = split(dn, |character| matches!(character, ',' | ';')).into_iter().next()?;
    pair(split(first, |character| character == '+').into_iter().next()?)
}

/// Whether an entry is directly below another one.
pub(super) fn is_directly_below(dn: &str, base: &str) -> bool {
    let parent = canonical(dn).and_then(|dn| dn.split_once(NEXT).map(|(_, parent)| parent.to_owned()));
    parent.is_some() && parent == canonical(base)
}

/// The name of an entry directly below another one.
pub(super) fn child(attribute: &str, value: &str, base: &str) -> String {
    format!("{attribute}={},{base}", dn_escape(value))
}

/// What names an entry after it got another value of an attribute, and what it is below.
pub(super) fn renamed<'a>(dn: &'a str, attribute: &str, value: &str) -> (String, &'a str) {
    let first = split(dn, |character| matches!(character, ',' | ';')).into_iter().next().unwrap_or_default();
    (format!("{attribute}={}", dn_escape(value)), dn.get(first.len() + 1..).unwrap_or_default())
}

/// The name of an entry after it got another login: where that does not name it, the same.
pub(super) fn with_login(dn: &str, attribute: &str, login: &str) -> String {
    match naming(dn) {
        Some((named_by, _)) if named_by == attribute => {
            let (naming, rest) = renamed(dn, attribute, login);
            format!("{naming},{rest}")
        }
        _ => dn.to_owned(),
    }
}

/// Splits where a character is not escaped.
fn split(text: &str, at: impl Fn(char) -> bool) -> Vec<&str> {
    let mut escaped = false;
    text.split(|character| {
        let splits = !escaped && at(character);
        escaped = !escaped && character == '\\';
        splits
    })
    .collect()
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim().to_lowercase();
    (!name.is_empty()).then(|| (name, unescaped(value)))
}

/// A value without escapes, and without spaces around it that are not escaped.
fn unescaped(text: &str) -> String {
    let text = text.trim_start();
    let mut bytes = Vec::with_capacity(text.len());
    // How many bytes must stay, whatever blanks follow.
    let mut kept = 0;
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, length) = match (first, after) {
            (b'\\', [high, low, ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                (hex(*high).unwrap_or_default() * 16 + hex(*low).unwrap_or_default(), 3)
            }
            (b'\\', [escaped, ..]) => (*escaped, 2),
            _ => (*first, 1),
        };
        bytes.push(byte);
        if length > 1 || byte != b' ' {
            kept = bytes.len();
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    bytes.truncate(kept);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_the_same() {
        let same =
            ["uid=ada,ou=people,dc=example,dc=com", "UID=Ada, OU = people ,dc=Example,DC=com", "uid=\\61da,ou=people;dc=example,dc=com"];
        for other in same {
            assert_eq!(canonical(other), canonical(same[0]), "{other}");
        }
        assert_eq!(canonical("cn=a+ou=b,dc=c"), canonical("OU=B+CN=A,dc=c"));
        assert_eq!(canonical("cn=Lovelace\\, Ada,dc=c"), canonical("cn=lovelace\\2c ada,dc=c"));
    }

    #[test]
    fn other_names_are_others() {
        for (one, other) in [
            ("uid=ada,dc=c", "uid=ada,dc=d"),
            ("uid=ada\\,dc=c", "uid=ada,dc=c"),
            ("uid=ada\\+cn=b,dc=c", "uid=ada+cn=b,dc=c"),
            ("uid=a da,dc=c", "uid=ada,dc=c"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one} {other}");
        }
        assert_eq!(canonical("no name"), None);
        assert_eq!(canonical(""), None);
    }

    #[test]
    fn what_names_an_entry_is_read_without_escapes() {
        assert_eq!(naming("uid=a\\,b\\ ,dc=c"), Some(("uid".to_owned(), "a,b ".to_owned())));
        assert_eq!(naming("UID= ada  ,dc=c"), Some(("uid".to_owned(), "ada".to_owned())));
        assert_eq!(naming(&child("uid", "ä, \"b\"+c#<=> ", "dc=c")), Some(("uid".to_owned(), "ä, \"b\"+c#<=> ".to_owned())));
    }

    #[test]
    fn children_are_directly_below() {
        assert!(is_directly_below("uid=ada,ou=people,dc=c", "OU=people, dc=C"));
        assert!(!is_directly_below("uid=ada,ou=former,ou=people,dc=c", "ou=people,dc=c"));
        assert!(!is_directly_below("ou=people,dc=c", "ou=people,dc=c"));
    }
}
