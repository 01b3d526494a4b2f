//! What would become of clusters if manifests were applied: the operator's planners are asked again and again, and what they plan is carried out in memory, until
//! nothing is left to do. So what is foretold is what the operator would do, and nothing is written anywhere.

mod carry;
pub mod force;
mod passes;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::Mode;

use super::cluster::{ClusterKey, ClusterState};
use super::covering::Rules;
use super::developer::{DeveloperInputs, plan_developer};
use super::difference::{Difference, Matrix, Place, differences};
use super::link::{Links, readable};
use super::manifests::{Manifests, Others};
use super::offline::{accounts, problems};
use super::placement::Scene;
use super::settings::Settings;
use super::world::World;

use self::force::{by_others, given_twice, in_force};
use self::passes::Withheld;

/// What people have written, and what clusters were seen to hold. It is used up: what is foretold happens to it.
pub struct Stage {
    /// What people have written.
    pub world: World,
    /// What the clusters hold.
    pub clusters: BTreeMap<ClusterKey, ClusterState>,
    /// How the clusters besides the home cluster stand. Their UIDs are left out: who foretells notes nothing down, so nothing waits for that.
    pub links: Links,
    /// What the ClusterRoles there allow, as far as that is known: who holds a greater one has a smaller one already.
    pub rules: Rules,
    /// What the installation decides.
    pub settings: Settings,
    /// The digest of the UIDs of usher's CRDs.
    pub epoch: String,
    /// The moment that it is foretold for.
    pub now: Timestamp,
}

/// What would happen.
#[derive(Debug, Default)]
pub struct Forecast {
    /// Who would gain and lose what.
    pub changes: Vec<Difference>,
    /// The same where it is only observed: it would happen with mode Enforce.
    pub withheld: Vec<Difference>,
    /// What people would be given and have already, by bindings that usher did not make. It is in neither of the above.
    pub already: Vec<Difference>,
    /// The Environments of whose clusters nothing could be read, so that nothing is foretold of them, each with the reason.
    pub unread: BTreeMap<String, String>,
    /// What is wrong, each with the object that it stands in: with the manifests, or because of them.
    pub problems: BTreeSet<(String, String)>,
}

/// What is wrong, each with the object that it stands in.
type Problems = BTreeSet<(String, String)>;

impl Forecast {
    /// Sets apart what people would be given and have already. What they have by bindings of others as before is neither given nor lost, wherever it is told of.
    fn set_apart(&mut self, (had, has): (&Matrix, &Matrix), twice: &Matrix) {
        for changes in [&mut self.changes, &mut self.withheld] {
            for change in changes.iter_mut() {
                let cell = (change.who.clone(), change.place.clone());
                let tells = |matrix: &Matrix, words: &String| matrix.get(&cell).is_some_and(|all| all.contains(words));
                change.loses.retain(|words| !tells(has, words));
                let gains = std::mem::take(&mut change.gains).into_iter();
                let (already, gains): (BTreeSet<String>, _) = gains.partition(|words| tells(had, words) || tells(twice, words));
                change.gains = gains;
                if !already.is_empty() {
                    self.already.push(Difference { gains: already, loses: BTreeSet::new(), ..change.clone() });
                }
            }
            changes.retain(|change| !(change.gains.is_empty() && change.loses.is_empty()));
        }
    }
}

impl Stage {
    /// Foretells what would happen if manifests were applied.
    pub fn forecast(mut self, manifests: Manifests, others: Others) -> Forecast {
        let before = self.have();
        let known = self.problems(&self.unread());
        let titles = manifests.titles();
        let mut found = manifests.lay_over(&mut self.world, others, self.now);
        for (cluster, state) in &mut self.clusters {
            state.divide(&self.world, &self.settings, cluster);
        }
        let unread = self.unread();
        let had = self.read(by_others);
        let settles = self.settle(Withheld::Stays);
        let after = self.have();
        let new = |problem: &(String, String)| titles.contains(&problem.0) || !known.contains(problem);
        found.extend(self.problems(&unread).into_iter().filter(new));
        if !settles {
            let message = "this does not come to rest, so what is printed may not be all: please report it".to_owned();
            found.insert(("usher plan".to_owned(), message));
        }
        self.settle(Withheld::Done);
        let observed = differences(&after, &self.have());
        let (withheld, changes) = differences(&before, &after).into_iter().partition(|change| self.only_observed(change));
        let mut forecast = Forecast { changes, withheld: [withheld, observed].concat(), already: Vec::new(), unread, problems: found };
        let (has, twice) = self.read(|scene| (by_others(scene), given_twice(scene, &self.rules)));
        forecast.set_apart((&had, &has), &twice);
        forecast
    }

    fn read<T>(&self, look: impl FnOnce(Scene<'_>) -> T) -> T {
        let clusters = readable(&self.clusters, &self.links);
        look(Scene { world: &self.world, clusters: &clusters, links: &self.links, only: None, settings: &self.settings })
    }

    /// Who has what: by the bindings in force, and by what is written at Providers, which are not asked.
    fn have(&self) -> Matrix {
        let mut matrix = self.read(in_force);
        matrix.extend(accounts(&self.world, self.now));
        matrix
    }

    /// The Environments of whose clusters nothing was read.
    fn unread(&self) -> BTreeMap<String, String> {
        self.read(|scene| {
            let environments = scene.world.live_environments().map(|(name, environment)| (name, ClusterKey::of(environment)));
            let unread = environments.filter(|(_, cluster)| !scene.clusters.contains_key(cluster));
            unread.filter_map(|(name, cluster)| Some((name.clone(), scene.silence(&cluster)?.1))).collect()
        })
    }

    /// What is wrong with what is written, but for what is told as unread.
    fn problems(&self, unread: &BTreeMap<String, String>) -> Problems {
        let mut found = self.read(problems);
        for name in self.names_of_roles() {
            let findings = self.plan_role(&name, true).map(|plan| plan.findings).unwrap_or_default();
            found.extend(findings.into_iter().map(|finding| (format!("urole/{name}"), finding.message)));
        }
        for (name, developer) in self.world.developers() {
            let findings = self.read(|scene| plan_developer(&DeveloperInputs { scene, developer, now: self.now })).findings;
            found.extend(findings.into_iter().map(|finding| (format!("dev/{name}"), finding.message)));
        }
        let told =
            |(_, message): &(String, String)| unread.iter().any(|(name, why)| message == why || *message == format!("uenv/{name}: {why}"));
        found.retain(|problem| !told(problem));
        found
    }

    /// Whether a change is at a Provider that is only observed.
    fn only_observed(&self, change: &Difference) -> bool {
        let Place::Provider(name) = &change.place else { return false };
        self.world.provider(name).is_some_and(|provider| provider.spec.mode == Mode::Observe)
    }
}
