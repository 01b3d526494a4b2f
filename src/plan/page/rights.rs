//! Who may see what: the page shows nobody what she could not list herself with kubectl.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::api::metadata::GROUP;

/// The ClusterRole that allows to see all of the page.
const READERS: &str = "usher-auditor";

/// A kind that somebody must be allowed to list, to be shown what is told by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Who holds and held what.
    Grants,
    /// The receipts of those who left.
    Departures,
    /// The four figures.
    Scorecards,
    /// People: what they are called, their teams, and how they stand.
    Developers,
    /// Emergency stops.
    Locks,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Grants, Self::Departures, Self::Scorecards, Self::Developers, Self::Locks];

    /// The resource, as RBAC calls it.
    pub const fn resource(self) -> &'static str {
        match self {
            Self::Grants => "grants",
            Self::Departures => "departures",
            Self::Scorecards => "scorecards",
            Self::Developers => "developers",
            Self::Locks => "locks",
        }
    }
}

/// A view of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// Who has what, where.
    Access,
    /// What happened to one person.
    People,
    /// Who left, and what was taken.
    Departures,
    /// The four figures.
    Scorecards,
}

impl View {
    /// All of them, in the order in which the page has them.
    pub const ALL: [Self; 4] = [Self::Access, Self::People, Self::Departures, Self::Scorecards];

    /// The kind without which there is nothing to show.
    pub const fn needs(self) -> Kind {
        match self {
            Self::Access | Self::People => Kind::Grants,
            Self::Departures => Kind::Departures,
            Self::Scorecards => Kind::Scorecards,
        }
    }

    /// The kinds that add to it, with what is missing without them.
    const fn adds(self) -> &'static [(Kind, &'static str)] {
        match self {
            Self::Access => &[(Kind::Developers, "names and teams of people, and people without access, are missing here")],
            Self::People => &[
                (Kind::Developers, "her name, her teams and how she stands are missing here"),
                (Kind::Locks, "Locks are missing here"),
                (Kind::Departures, "departures are missing here"),
            ],
            Self::Departures | Self::Scorecards => &[],
        }
    }
}

/// Somebody who was let in: who she is, and what she may list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// What the cluster calls her.
    pub user: String,
    /// What she may list.
    pub may_list: BTreeSet<Kind>,
}

impl Reader {
    /// Whether she may list a kind.
    pub fn may(&self, kind: Kind) -> bool {
        self.may_list.contains(&kind)
    }

    /// Whether she may see a view.
    ///
    /// # Errors
    /// With the sentence that names the missing permission.
    pub fn sees(&self, view: View) -> Result<(), String> {
        let kind = view.needs();
        if self.may(kind) {
            return Ok(());
        }
        let (user, resource) = (&self.user, kind.resource());
        Err(format!("{user} may not list {resource}.{GROUP}, which this view shows. {}", remedy()))
    }

    /// What is missing in a view for want of a permission, a sentence each.
    pub fn misses(&self, view: View) -> Vec<String> {
        let missing = view.adds().iter().filter(|(kind, _)| !self.may(*kind));
        missing.map(|(kind, what)| format!("You may not list {}.{GROUP}, so {what}.", kind.resource())).collect()
    }

    /// What she may see of the page.
    ///
    /// # Errors
    /// With the sentence that names the missing permissions, if there is nothing at all.
    pub fn session(&self) -> Result<Session, String> {
        if View::ALL.into_iter().all(|view| self.sees(view).is_err()) {
            let wanted: BTreeSet<Kind> = View::ALL.into_iter().map(View::needs).collect();
            let wanted: Vec<String> = wanted.iter().map(|kind| format!("{}.{GROUP}", kind.resource())).collect();
            return Err(format!("{} may list none of {}. {}", self.user, wanted.join(", "), remedy()));
        }
        let offer = |view: View| Offer { view, refused: self.sees(view).err() };
        Ok(Session { user: self.user.clone(), views: View::ALL.into_iter().map(offer).collect() })
    }
}

fn remedy() -> String {
    format!("Ask an administrator of the cluster for the ClusterRole {READERS}.")
}

/// What somebody may see of the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Session {
    /// What the cluster calls her.
    pub user: String,
    /// Every view.
    pub views: Vec<Offer>,
}

/// A view, and whether it may be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// Which.
    pub view: View,
    /// Why it may not be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(kinds: &[Kind]) -> Reader {
        Reader { user: "ada".to_owned(), may_list: kinds.iter().copied().collect() }
    }

    #[test]
    fn whoever_may_list_only_some_sees_those_and_a_sentence_for_each_other() {
        let session = reader(&[Kind::Departures]).session().expect("something");
        let refused: Vec<Option<&str>> = session.views.iter().map(|offer| offer.refused.as_deref()).collect();
        assert_eq!(refused[2], None);
        for why in [refused[0], refused[1]] {
            assert!(
                why.is_some_and(|why| why.starts_with("ada may not list grants.usher.dev") && why.contains("usher-auditor")),
                "{why:?}"
            );
        }
        assert!(refused[3].is_some_and(|why| why.contains("list scorecards.usher.dev")), "{refused:?}");
    }

    #[test]
    fn whoever_may_list_nothing_is_told_all_that_she_lacks() {
        for kinds in [&[][..], &[Kind::Locks, Kind::Developers]] {
            let why = reader(kinds).session().expect_err("nothing");
            assert_eq!(
                why,
                "ada may list none of grants.usher.dev, departures.usher.dev, scorecards.usher.dev. Ask an administrator of the cluster for the ClusterRole usher-auditor."
            );
        }
    }

    #[test]
    fn what_is_left_out_of_a_view_is_told() {
        let some = reader(&[Kind::Grants, Kind::Locks]);
        assert_eq!(some.misses(View::People).len(), 2);
        assert!(some.misses(View::People)[1].starts_with("You may not list departures.usher.dev, so "));
        assert_eq!(reader(&Kind::ALL).misses(View::People), Vec::<String>::new());
        assert_eq!(some.misses(View::Departures), Vec::<String>::new());
    }
}
