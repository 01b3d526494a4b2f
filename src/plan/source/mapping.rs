//! What of a person becomes what of a Developer.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::source::{Origin, PersonProblem};
use crate::api::{Reason, SourceSpec};
use crate::plan::spelling::{is_email, label};

use super::Person;
use super::teams::{Assigned, Teams};

/// The most that a Developer's name has (its schema): namespaces and labels are made from it.
const LONGEST_NAME: usize = 38;
/// The most teams that a Developer has (its schema).
const MOST_TEAMS: usize = 16;

/// What becomes a Developer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// By what she is known for ever.
    pub person_id: String,
    /// What her Developer is called if it has to be made.
    pub name: String,
    /// Her e-mail address.
    pub email: String,
    /// Whether that is the one which she has, and not what the source says.
    pub keeps_address: bool,
    /// Her name as people say it.
    pub display_name: Option<String>,
    /// Her teams.
    pub teams: BTreeSet<String>,
    /// Whether she may have anything, if the source says so.
    pub active: Option<bool>,
    /// When the source recorded her, if it says so.
    pub recorded_at: Option<Timestamp>,
}

/// What a Source asks for, ready to be used for everybody.
#[derive(Clone, Debug)]
pub struct Mapping {
    name: String,
    email: String,
    display_name: String,
    person_id: String,
    /// Which group is which team.
    pub teams: Teams,
}

impl Mapping {
    /// The mapping of a Source, with what fits its sort where nothing is said.
    pub fn of(spec: &SourceSpec) -> Self {
        let defaults = match spec.origin() {
            Some(Origin::Ldap(_)) => ["{uid}", "{mail}", "{cn}", "{entryUUID}"],
            Some(Origin::Scim(_)) => ["{login}", "{email}", "{displayName}", "{externalId}"],
            Some(Origin::Keycloak(_)) | None => ["{username}", "{email}", "{firstName} {lastName}", "{id}"],
        };
        let [name, email, display_name, person_id] = defaults;
        let or = |said: &Option<String>, default: &str| said.clone().unwrap_or_else(|| default.to_owned());
        Self {
            name: or(&spec.people.name, name),
            email: or(&spec.people.email, email),
            display_name: or(&spec.people.display_name, display_name),
            person_id: or(&spec.people.person_id, person_id),
            teams: Teams::of(&spec.teams),
        }
    }

    /// The attributes that it needs.
    pub fn attributes(&self) -> BTreeSet<String> {
        let templates = [&self.name, &self.email, &self.display_name, &self.person_id];
        templates.into_iter().flat_map(|template| parts(template)).filter_map(|(_, key)| key.map(str::to_owned)).collect()
    }

    /// By what a person is known for ever; nothing if the source does not tell it.
    pub fn person_id(&self, person: &Person) -> Option<String> {
        render(&self.person_id, &person.attributes, Gaps::Refused).ok().filter(|id| id.len() <= 128)
    }

    /// What a person without personId would be called, and her address, as far as they are told.
    pub fn likeness(&self, person: &Person) -> (Option<String>, Option<String>) {
        let of = |template: &str| render(template, &person.attributes, Gaps::Refused).ok();
        (of(&self.name).and_then(|called| name(&called)), of(&self.email))
    }

    /// What a person is as a Developer, or why she cannot be one.
    pub fn wanted(&self, person: &Person, person_id: &str, assigned: &Assigned) -> Result<Wanted, PersonProblem> {
        let problem = |field: &str, why: String| PersonProblem {
            person: person_id.to_owned(),
            reason: Reason::InvalidPerson.as_str(),
            message: format!("{why}; mend it at the source, or set spec.people.{field} to something that everybody has"),
        };
        let of = |field: &'static str, template: &str| {
            render(template, &person.attributes, Gaps::Refused).map_err(|lacks| problem(field, format!("has no {lacks}")))
        };
        let called = of("name", &self.name)?;
        let name = name(&called).ok_or_else(|| {
            problem("name", format!("\"{called}\" gives no name of a Developer: of letters, digits and hyphens, {LONGEST_NAME} at most"))
        })?;
        let email = of("email", &self.email)?;
        if !is_email(&email) {
            return Err(problem("email", format!("\"{email}\" is no e-mail address")));
        }
        let teams = assigned.of_groups(&person.groups);
        if teams.len() > MOST_TEAMS {
            return Err(PersonProblem {
                person: person_id.to_owned(),
                reason: Reason::InvalidPerson.as_str(),
                message: format!("is in {} teams, and a Developer has {MOST_TEAMS} at most; name fewer groups in spec.teams", teams.len()),
            });
        }
        let display_name = render(&self.display_name, &person.attributes, Gaps::Left).unwrap_or_default();
        let display_name = Some(display_name.chars().take(128).collect::<String>()).filter(|name| !name.is_empty());
        let (active, recorded_at) = (person.active, person.recorded_at);
        Ok(Wanted { person_id: person_id.to_owned(), name, email, keeps_address: false, display_name, teams, active, recorded_at })
    }
}

/// What becomes of an attribute that a person does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gaps {
    /// The whole is of no use.
    Refused,
    /// Nothing stands there.
    Left,
}

/// The pieces of a template: what stands before an attribute, and the attribute.
fn parts(template: &str) -> Vec<(&str, Option<&str>)> {
    let mut rest = template;
    let mut parts = Vec::new();
    while let Some((before, after)) = rest.split_once('{') {
        let Some((key, tail)) = after.split_once('}') else { break };
        parts.push((before, Some(key)));
        rest = tail;
    }
    parts.push((rest, None));
    parts
}

/// Fills in a template: each attribute once, so that a value which looks like one stays as it is. An error names the attribute that is not there.
fn render<'a>(template: &'a str, attributes: &BTreeMap<String, String>, gaps: Gaps) -> Result<String, &'a str> {
    let mut text = String::new();
    for (before, key) in parts(template) {
        text.push_str(before);
        let Some(key) = key else { continue };
        match attributes.get(key).map(|value| value.trim()).filter(|value| !value.is_empty()) {
            Some(value) => text.push_str(value),
            None if gaps == Gaps::Refused => return Err(key),
            None => {}
        }
    }
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The name of who is called so. Nothing is cut off: two people would become one.
pub fn name(called: &str) -> Option<String> {
    Some(label(called)).filter(|label| (1..=LONGEST_NAME).contains(&label.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_labels_and_are_never_cut_short() {
        let long = "a234567890b234567890c234567890d234567890";
        for (called, made) in [("Ada.L", Some("ada-l")), ("\u{e4}\u{f6}", None), (long, None)] {
            assert_eq!(name(called).as_deref(), made, "{called}");
        }
    }

    #[test]
    fn an_attribute_that_looks_like_a_template_stays_and_one_that_lacks_is_named() {
        let attributes = BTreeMap::from([("a".to_owned(), "{b}".to_owned()), ("b".to_owned(), " ".to_owned())]);
        assert_eq!(render("x {a}", &attributes, Gaps::Refused), Ok("x {b}".to_owned()));
        assert_eq!(render("{a} {b}", &attributes, Gaps::Refused), Err("b"));
        assert_eq!(render("{b} {a}", &attributes, Gaps::Left), Ok("{b}".to_owned()));
    }
}
