//! What usher keeps with an account: whose it is, in `login_name`. Without a login source Gitea does not use that field, and the person cannot edit it.

use crate::plan::account::Owner;

use super::api::User;

const ISSUED: &str = "+issued";
const KEYS: &str = "+keys";

/// What is in `login_name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whose the account is.
    pub owner: Owner,
    /// Whether something may have been issued since the account was made or revoked: a password, or whatever she made while it was open. No request tells that
    /// of a password.
    pub issued: bool,
    /// Whether usher installed SSH keys. A list tells no keys, so they are asked for only where there are some.
    pub keys: bool,
}

impl Mark {
    pub fn new(owner: &Owner) -> Self {
        Self { owner: owner.clone(), issued: false, keys: false }
    }

    /// The mark of an account; nothing where a login source has its own name of the person in that field.
    pub fn of(user: &User) -> Option<Self> {
        if user.source_id != 0 {
            return None;
        }
        let (rest, keys) = stripped(&user.login_name, KEYS);
        let (rest, issued) = stripped(rest, ISSUED);
        Owner::read(rest).map(|owner| Self { owner, issued, keys })
    }

    pub fn text(&self) -> String {
        let flag = |is: bool, word: &'static str| if is { word } else { "" };
        format!("{}{}{}", self.owner.mark(), flag(self.issued, ISSUED), flag(self.keys, KEYS))
    }
}

fn stripped<'a>(text: &'a str, end: &str) -> (&'a str, bool) {
    text.strip_suffix(end).map_or((text, false), |rest| (rest, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(login_name: &str, source_id: i64) -> User {
        let value = serde_json::json!({ "id": 1, "login": "ada", "login_name": login_name, "source_id": source_id });
        serde_json::from_value(value).unwrap_or_else(|error| unreachable!("{error}"))
    }

    #[test]
    fn what_is_written_is_read() {
        let owner = Owner { installation: "i".to_owned(), person: "uid-1".to_owned(), developer: "ada".to_owned(), adopted: false };
        for (issued, keys) in [(false, false), (true, false), (false, true), (true, true)] {
            let mark = Mark { owner: owner.clone(), issued, keys };
            assert_eq!(Mark::of(&user(&mark.text(), 0)), Some(mark.clone()));
            assert_eq!(Mark::of(&user(&mark.text(), 3)), None, "that is another's field");
        }
        assert_eq!(Mark::of(&user("uid=ada,ou=people", 0)), None);
    }
}
