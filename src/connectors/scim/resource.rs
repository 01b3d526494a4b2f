//! Users and groups as services write them: in any letter case, with booleans as strings and ids as numbers.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::plan::account::{Account, AccountState, Owner, Profile};

/// What an attribute is to be.
pub(super) type Edit = (&'static str, Value);

/// A user or a group, with everything that the service told of it.
#[derive(Clone, Debug)]
pub(super) struct Resource(Map<String, Value>);

impl Resource {
    /// Reads one; nothing if it has no id.
    pub(super) fn read(value: Value) -> Option<Self> {
        let Value::Object(attributes) = value else { return None };
        let resource = Self(attributes);
        (!resource.id().is_empty()).then_some(resource)
    }

    fn get(&self, name: &str) -> Option<&Value> {
        attribute(&self.0, name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    /// The entries of an attribute with several values.
    fn entries(&self, name: &str) -> &[Value] {
        self.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn id(&self) -> String {
        self.text("id").unwrap_or_default()
    }

    /// By what the service tells whether it changed meanwhile.
    pub(super) fn version(&self) -> Option<String> {
        text(attribute(self.get("meta")?.as_object()?, "version")?)
    }

    pub(super) fn username(&self) -> String {
        self.text("userName").unwrap_or_default()
    }

    pub(super) fn external_id(&self) -> Option<String> {
        self.text("externalId").filter(|id| !id.is_empty())
    }

    pub(super) fn owner(&self) -> Option<Owner> {
        Owner::read(&self.external_id()?)
    }

    /// Whether one can log in. Who says nothing about it locks nobody out.
    pub(super) fn active(&self) -> bool {
        match self.get("active") {
            Some(Value::Bool(active)) => *active,
            Some(Value::String(active)) => !active.eq_ignore_ascii_case("false"),
            _ => true,
        }
    }

    /// How a group is called, or a person.
    pub(super) fn display_name(&self) -> Option<String> {
        self.text("displayName").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
    }

    /// The ids of a group's members.
    pub(super) fn members(&self) -> BTreeSet<String> {
        self.entries("members").iter().filter_map(value_of).collect()
    }

    /// Whether the service told of members at all.
    pub(super) fn tells_members(&self) -> bool {
        self.get("members").is_some()
    }

    /// Takes over the members that another answer told.
    pub(super) fn take_members(&mut self, told: &Self) {
        if let Some(members) = told.get("members") {
            set(&mut self.0, "members", members.clone());
        }
    }

    pub(super) fn has_email(&self, email: &str) -> bool {
        self.entries("emails").iter().filter_map(value_of).any(|it| it.eq_ignore_ascii_case(email))
    }

    /// Which of the e-mail addresses is the one that is meant: the primary one, else the one at work, else the first.
    fn main_email(&self) -> Option<usize> {
        let emails = self.entries("emails");
        let marked = |name: &str, value: &str| {
            emails.iter().position(|email| {
                let found = email.as_object().and_then(|email| attribute(email, name)).map(ToString::to_string).unwrap_or_default();
                found.trim_matches('"').eq_ignore_ascii_case(value)
            })
        };
        marked("primary", "true").or_else(|| marked("type", "work")).or((!emails.is_empty()).then_some(0))
    }

    fn email(&self) -> String {
        let email = self.main_email().and_then(|index| self.entries("emails").get(index)).and_then(value_of);
        email.unwrap_or_default().to_lowercase()
    }

    /// The name to show; where the service keeps none, it is put together again as [`name`] divides it.
    fn full_name(&self) -> String {
        let name = self.get("name").and_then(Value::as_object);
        let part =
            |field: &str| name.and_then(|name| text(attribute(name, field)?)).map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
        let composed = || match (part("givenName"), part("familyName")) {
            (Some(given), Some(family)) if given == family => Some(given),
            (Some(given), Some(family)) => Some(format!("{given} {family}")),
            (given, family) => part("formatted").or(given).or(family),
        };
        self.display_name().or_else(composed).unwrap_or_default()
    }

    /// Whether it says of itself that it administers the service. SCIM has no word for it, so anything that sounds like it counts.
    fn administrator(&self) -> bool {
        const WORDS: [&str; 7] = ["admin", "admins", "administrator", "administrators", "owner", "superuser", "root"];
        let kinds = ["roles", "entitlements"].into_iter().flat_map(|name| self.entries(name).iter().filter_map(value_of));
        let mut told = kinds.chain(self.text("userType"));
        told.any(|it| it.to_lowercase().split(|sign: char| !sign.is_alphanumeric()).any(|word| WORDS.contains(&word)))
    }

    /// The account that it is. `revoked_when_disabled`: an account that is locked out has nothing left that was issued; the service itself cannot tell.
    pub(super) fn account(&self, groups: BTreeSet<String>, revoked_when_disabled: bool) -> Account {
        let profile = Profile { username: self.username(), display_name: self.full_name(), email: self.email(), ssh_keys: BTreeSet::new() };
        Account {
            id: self.id(),
            profile,
            state: if self.active() { AccountState::Enabled } else { AccountState::Disabled },
            groups,
            owner: self.owner(),
            administrator: self.administrator(),
            credentials: self.active() || !revoked_when_disabled,
        }
    }

    /// What of it must be set for a profile. Her other e-mail addresses and parts of her name stay.
    pub(super) fn edits(&self, profile: &Profile) -> Vec<Edit> {
        let mut edits = Vec::new();
        if self.username() != profile.username {
            edits.push(("userName", json!(profile.username)));
        }
        if self.full_name() != profile.display_name {
            let mut names = self.get("name").and_then(Value::as_object).cloned().unwrap_or_default();
            for (field, value) in name(&profile.display_name) {
                set(&mut names, &field, value);
            }
            edits.push(("name", Value::Object(names)));
            if self.display_name().is_some() {
                edits.push(("displayName", json!(profile.display_name)));
            }
        }
        if self.email() != profile.email {
            edits.push(("emails", self.emails(&profile.email)));
        }
        edits
    }

    /// All e-mail addresses, with another one in place of the one that is meant.
    fn emails(&self, email: &str) -> Value {
        let main = self.main_email();
        let others = self.entries("emails").iter().enumerate();
        let others = others.filter(|(index, it)| Some(*index) != main && value_of(it).is_none_or(|it| !it.eq_ignore_ascii_case(email)));
        let mut emails: Vec<Value> = others.map(|(_, it)| it.clone()).collect();
        if !email.is_empty() {
            emails.insert(0, main_email(email));
        }
        Value::Array(emails)
    }

    /// The whole of it with other values, as a service without PATCH wants it.
    pub(super) fn with(&self, edits: &[Edit]) -> Value {
        let mut whole = self.0.clone();
        // These are the service's own to tell.
        whole.retain(|name, _| !["meta", "groups"].iter().any(|it| name.eq_ignore_ascii_case(it)));
        for (name, value) in edits {
            set(&mut whole, name, value.clone());
        }
        Value::Object(whole)
    }

    /// The whole of a group with one member more or less.
    pub(super) fn with_member(&self, id: &str, member: bool) -> Value {
        let others = self.entries("members").iter().filter(|it| value_of(it).as_deref() != Some(id)).cloned();
        let members: Vec<Value> = others.chain(member.then(|| json!({ "value": id }))).collect();
        self.with(&[("members", members.into())])
    }
}

/// A person as a new user.
pub(super) fn user(profile: &Profile, owner: &Owner) -> Value {
    let mut user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": profile.username,
        "externalId": owner.mark(),
        "displayName": profile.display_name,
        "name": name(&profile.display_name),
        "active": true,
    });
    if let (false, Value::Object(user)) = (profile.email.is_empty(), &mut user) {
        user.insert("emails".to_owned(), json!([main_email(&profile.email)]));
    }
    user
}

fn main_email(email: &str) -> Value {
    json!({ "value": email, "type": "work", "primary": true })
}

/// A name in parts: many services ask for a given name and a family name, and usher knows neither. One word is both.
fn name(display_name: &str) -> Map<String, Value> {
    let (given, family) = display_name.rsplit_once(' ').unwrap_or((display_name, display_name));
    let parts = [("formatted", display_name), ("givenName", given), ("familyName", family)];
    parts.into_iter().map(|(field, value)| (field.to_owned(), json!(value))).collect()
}

/// Names of attributes have no letter case (RFC 7643, 2.1).
fn attribute<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn set(object: &mut Map<String, Value>, name: &str, value: Value) {
    object.retain(|key, _| !key.eq_ignore_ascii_case(name));
    object.insert(name.to_owned(), value);
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The value of an entry, which some services write without an object around it.
fn value_of(entry: &Value) -> Option<String> {
    entry.as_object().map_or_else(|| text(entry), |entry| text(attribute(entry, "value")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Resource {
        Resource::read(value).expect("it has an id")
    }

    #[test]
    fn what_services_write_in_their_own_way_is_read() {
        let user = read(json!({
            "ID": 7, "username": "Ada", "Active": "False", "externalID": "usher/i/p/ada",
            "name": { "givenName": "Ada King", "familyName": "Lovelace" },
            "emails": [{ "value": "home@example.com" }, { "value": "Ada@Example.com", "primary": "True" }],
            "roles": ["workspace_admin"],
        }));
        let account = user.account(BTreeSet::new(), false);
        assert_eq!((account.id.as_str(), account.profile.username.as_str()), ("7", "Ada"));
        assert_eq!((account.profile.display_name.as_str(), account.profile.email.as_str()), ("Ada King Lovelace", "ada@example.com"));
        assert_eq!((account.state, account.administrator), (AccountState::Disabled, true));
        assert_eq!(account.owner.expect("a mark").developer, "ada");
    }

    #[test]
    fn silence_about_active_locks_nobody_out() {
        for user in [json!({ "id": "1" }), json!({ "id": "1", "active": null }), json!({ "id": "1", "active": "true" })] {
            assert!(read(user).active());
        }
        assert!(!read(json!({ "id": "1", "active": false })).active());
    }

    #[test]
    fn what_was_issued_cannot_be_told_unless_disabling_revokes_it() {
        let [enabled, disabled] = [true, false].map(|active| read(json!({ "id": "1", "active": active })));
        for (user, revoked, credentials) in
            [(&enabled, false, true), (&disabled, false, true), (&enabled, true, true), (&disabled, true, false)]
        {
            assert_eq!(user.account(BTreeSet::new(), revoked).credentials, credentials);
        }
    }

    #[test]
    fn names_survive_services_that_keep_only_their_parts() {
        for shown in ["Ada", "Ada Lovelace", "Augusta Ada King Lovelace"] {
            let kept = read(json!({ "id": "1", "name": name(shown) }));
            assert_eq!(kept.full_name(), shown);
        }
        assert_eq!(read(json!({ "id": "1", "name": { "formatted": "Ada" } })).full_name(), "Ada");
    }

    #[test]
    fn only_what_differs_is_set_and_what_else_she_has_stays() {
        let user = read(json!({
            "id": "1", "userName": "ada", "displayName": "Ada", "title": "Countess", "meta": { "version": "a" },
            "name": { "givenName": "Ada", "middleName": "Augusta" },
            "emails": [{ "value": "home@example.com", "type": "home" }, { "value": "ada@example.com", "type": "work" }],
        }));
        let mut profile = user.account(BTreeSet::new(), false).profile;
        assert!(user.edits(&profile).is_empty());
        (profile.display_name, profile.email) = ("Ada King".to_owned(), "king@example.com".to_owned());
        let whole = user.with(&user.edits(&profile));
        assert_eq!(whole["name"], json!({ "formatted": "Ada King", "givenName": "Ada", "familyName": "King", "middleName": "Augusta" }));
        assert_eq!(whole["emails"], json!([main_email("king@example.com"), { "value": "home@example.com", "type": "home" }]));
        assert_eq!((&whole["title"], &whole["displayName"], &whole["meta"]), (&json!("Countess"), &json!("Ada King"), &Value::Null));
    }

    #[test]
    fn nobody_administers_by_accident() {
        for (roles, administrator) in
            [("Badminton", false), ("member", false), ("Owner", true), ("enterprise_owner", true), ("billing:admin", true)]
        {
            assert_eq!(read(json!({ "id": "1", "roles": [{ "value": roles }] })).administrator(), administrator, "{roles}");
        }
    }
}
