//! The consistency index: Roles whose access may have changed are looked at a moment later, all together, and Environments tell what is new.
//!
//! What is wrong at two looks in a row is told; at the first it may just be on its way. A look only reads memory.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::ResourceExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api::environment::DifferenceKind;
use crate::api::{Reason, Role};
use crate::plan::cluster::ClusterKey;
use crate::plan::consistency::{AllCells, Fault, Figure, all_cells};
use crate::plan::placement::Scene;
use crate::plan::scorecard::cells::Wrong;

use super::context::Context;
use super::frame::{Done, Pass};
use super::queue::{Lane, Queue};

/// The one key of the queue: all Roles are looked at together.
const ALL: &str = "all";
/// How soon after a pass over a Role it is looked at.
const SOON: Duration = Duration::from_secs(1);
/// The least time between two looks, and so between two changes of what is told.
const GAP: Duration = Duration::from_secs(3);
/// Looks rest for so many times what the last one took.
const RESTS: u32 = 20;

/// What is known of a Role in each Environment; nothing where its cluster is being read and was not seen before.
type Figures = BTreeMap<String, Option<Figure>>;

/// What was seen of a Role.
#[derive(Clone, Debug, Default, PartialEq)]
struct OfRole {
    figures: Figures,
    /// The cells that were found wrong, those of Environments that are compared with no other among them.
    wrong: Vec<Wrong>,
}

/// How alike Environments are.
#[derive(Debug)]
pub struct Consistency {
    queue: Queue,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The Roles to look at.
    due: BTreeSet<String>,
    /// Those of which something was wrong at the last look that is not told yet.
    doubted: HashSet<String>,
    figures: HashMap<String, OfRole>,
    /// Whether all Roles were looked at since the start. Before that nothing is told.
    whole: bool,
    told: BTreeMap<String, Figure>,
}

impl Default for Consistency {
    fn default() -> Self {
        Self { queue: Queue::new(GAP), kept: Mutex::default() }
    }
}

impl Consistency {
    /// The queue of looks.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Has a Role looked at soon.
    pub fn look(&self, role: &str) {
        self.kept.lock().due.insert(role.to_owned());
        self.begin();
    }

    /// Has told what there is to tell, also where there is no Role to look at.
    pub fn begin(&self) {
        self.queue.push_after(ALL, Lane::Sweep, SOON);
    }

    /// What an Environment is to tell; nothing while that is not known.
    pub fn of(&self, environment: &str) -> Option<Figure> {
        self.kept.lock().told.get(environment).cloned()
    }

    /// Whether all Roles were looked at since the start.
    pub fn whole(&self) -> bool {
        self.kept.lock().whole
    }

    /// How alike each Environment is, and all cells that were found wrong; nothing while that is not known.
    pub fn all(&self) -> Option<(BTreeMap<String, Figure>, Vec<Wrong>)> {
        let kept = self.kept.lock();
        kept.whole.then(|| (kept.told.clone(), kept.figures.values().flat_map(|of_role| &of_role.wrong).cloned().collect()))
    }

    /// The index of each Environment that has one.
    pub fn ratios(&self) -> Vec<(String, f64)> {
        let kept = self.kept.lock();
        kept.told.iter().filter_map(|(name, figure)| Some((name.clone(), figure.tally.ratio()?))).collect()
    }
}

impl Kept {
    /// Takes in what was seen of a Role. What is wrong, and was not at the last look, is looked at again. Returns whether that is so.
    fn take_in(&mut self, role: &str, seen: Option<OfRole>) -> bool {
        let Some(mut seen) = seen else {
            self.figures.remove(role);
            self.doubted.remove(role);
            return false;
        };
        let before = self.figures.get(role);
        for (environment, figure) in seen.figures.iter_mut().filter(|(_, figure)| figure.is_none()) {
            *figure = before.and_then(|before| before.figures.get(environment)).cloned().flatten();
            seen.wrong.extend(before.into_iter().flat_map(|before| &before.wrong).filter(|it| it.environment == *environment).cloned());
        }
        let wrong = !seen.wrong.is_empty() || seen.figures.values().flatten().any(|figure| !figure.worst.is_empty());
        if wrong && before != Some(&seen) && self.doubted.insert(role.to_owned()) {
            self.due.insert(role.to_owned());
            return true;
        }
        self.doubted.remove(role);
        self.figures.insert(role.to_owned(), seen);
        false
    }

    /// Sums up what is known of each Environment. Returns those that have something else to tell.
    fn sum_up(&mut self, roles: &[String], environments: &[String]) -> Vec<String> {
        self.whole |= roles.iter().all(|role| self.figures.contains_key(role));
        if !self.whole {
            return Vec::new();
        }
        let old = std::mem::take(&mut self.told);
        for name in environments {
            let of_roles: Vec<&Option<Figure>> = self.figures.values().filter_map(|of_role| of_role.figures.get(name)).collect();
            let known = of_roles.iter().all(|figure| figure.is_some());
            if known {
                let sum = of_roles.into_iter().flatten().fold(Figure::default(), |sum, figure| sum.plus(figure));
                self.told.insert(name.clone(), sum);
            } else if let Some(figure) = old.get(name) {
                self.told.insert(name.clone(), figure.clone());
            }
        }
        environments.iter().filter(|name| old.get(*name) != self.told.get(*name)).cloned().collect()
    }
}

/// The looks at Roles.
pub struct Looks {
    context: Arc<Context>,
}

impl Pass for Looks {
    fn kind(&self) -> &'static str {
        "Consistency"
    }

    fn pass<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Done> {
        self.run().boxed()
    }
}

impl Looks {
    /// Looks at Roles.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    async fn run(&self) -> Done {
        let (context, mut took, mut doubts) = (&self.context, Duration::ZERO, false);
        let due = std::mem::take(&mut context.consistency.kept.lock().due);
        for role in due {
            let start = Instant::now();
            let now = context.now();
            let seen = context.memory.read(|content, scene| content.world.role(&role).map(|role| look_at(scene, role, now)));
            doubts |= context.consistency.kept.lock().take_in(&role, seen);
            took += start.elapsed();
            tokio::task::yield_now().await;
        }
        let (roles, environments) = context.memory.read(|content, _| {
            let roles: Vec<String> = content.world.roles().map(|(name, _)| name.clone()).collect();
            let environments: Vec<String> = content.world.live_environments().map(|(name, _)| name.clone()).collect();
            (roles, environments)
        });
        let news = context.consistency.kept.lock().sum_up(&roles, &environments);
        if context.consistency.whole() {
            context.figures.compared();
        }
        news.iter().for_each(|environment| context.queues.environments.push(environment, Lane::Sweep));
        Done { soon: doubts.then_some(GAP), rest: took * RESTS, ..Done::default() }
    }
}

/// What is seen of a Role in each Environment. Nothing is concluded from a cluster that is just being read.
fn look_at(scene: Scene<'_>, role: &Role, now: jiff::Timestamp) -> OfRole {
    let being_read = |environment: &str| {
        let cluster = scene.world.environment(environment).map(|object| ClusterKey::of(object));
        cluster.and_then(|cluster| scene.silence(&cluster)).is_some_and(|(reason, _)| reason == Reason::Progressing)
    };
    let (name, teams) = (role.name_any(), |name: &str| scene.world.teams_of(name));
    let AllCells { compared, alone } = all_cells(scene, role, now);
    let known = [&compared, &alone].into_iter().flatten().filter(|(environment, _)| !being_read(environment));
    let wrong = known.flat_map(|(environment, cells)| wrong(environment, cells)).collect();
    let figures = compared.iter().map(|(environment, cells)| {
        let known = !being_read(environment);
        (environment.clone(), known.then(|| Figure::of(&name, cells, teams)))
    });
    OfRole { figures: figures.collect(), wrong }
}

/// The cells of an Environment that were found wrong; not those that could not be looked at.
fn wrong<'a>(environment: &'a str, cells: &'a BTreeMap<String, Option<Fault>>) -> impl Iterator<Item = Wrong> + 'a {
    let found = cells.iter().filter_map(|(developer, fault)| Some((developer, fault.as_ref()?)));
    found.filter(|(_, fault)| fault.kind != DifferenceKind::Unseen).map(|(developer, fault)| Wrong {
        developer: developer.clone(),
        environment: environment.to_owned(),
        fault: fault.clone(),
    })
}

#[cfg(test)]
mod tests {
    use crate::api::environment::Difference;
    use crate::plan::consistency::Tally;

    use super::*;

    fn figure(right: usize, cells: usize) -> Figure {
        let wrong = |number: usize| Difference {
            kind: DifferenceKind::Missing,
            developer: number.to_string(),
            role: "r".to_owned(),
            message: "why".to_owned(),
        };
        Figure { tally: Tally { right, cells }, worst: (right..cells).map(wrong).collect(), ..Figure::default() }
    }

    fn seen(figures: &[(&str, Option<Figure>)]) -> OfRole {
        let figures = figures.iter().map(|(name, figure)| ((*name).to_owned(), figure.clone())).collect();
        OfRole { figures, wrong: Vec::new() }
    }

    fn told(kept: &mut Kept, roles: &[&str]) -> Vec<Option<String>> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        kept.sum_up(&owned(roles), &owned(&["dev", "prod"]));
        ["dev", "prod"].iter().map(|name| kept.told.get(*name)?.tally.percent()).collect()
    }

    fn percent(texts: [&str; 2]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn what_is_wrong_is_told_at_the_second_look_and_what_is_right_at_the_first() {
        let mut kept = Kept::default();
        assert!(!kept.take_in("r", Some(seen(&[("dev", Some(figure(4, 4))), ("prod", Some(figure(4, 4)))]))));
        assert_eq!(told(&mut kept, &["r"]), percent(["100%", "100%"]));
        let wrong = || Some(seen(&[("dev", Some(figure(4, 4))), ("prod", Some(figure(3, 4)))]));
        assert!(kept.take_in("r", wrong()), "it is looked at again");
        assert_eq!((told(&mut kept, &["r"]), kept.due.contains("r")), (percent(["100%", "100%"]), true));
        assert!(!kept.take_in("r", wrong()));
        assert_eq!(told(&mut kept, &["r"]), percent(["100%", "75%"]));
        assert!(!kept.take_in("r", wrong()), "it is told already");
        kept.take_in("r", Some(seen(&[("dev", Some(figure(4, 4))), ("prod", Some(figure(4, 4)))])));
        assert_eq!(told(&mut kept, &["r"]), percent(["100%", "100%"]));
    }

    #[test]
    fn before_every_role_was_looked_at_nothing_is_told_and_later_a_new_one_holds_nothing_up() {
        let mut kept = Kept::default();
        kept.take_in("r", Some(seen(&[("dev", Some(figure(4, 4))), ("prod", Some(figure(4, 4)))])));
        assert_eq!(told(&mut kept, &["r", "s"]), [None, None]);
        kept.take_in("s", Some(seen(&[("dev", Some(figure(1, 1)))])));
        assert_eq!(told(&mut kept, &["r", "s"]), percent(["100%", "100%"]));
        assert_eq!(told(&mut kept, &["r", "s", "new"]), percent(["100%", "100%"]));
        kept.take_in("r", None);
        assert_eq!(told(&mut kept, &["s"]), [Some("100%".to_owned()), None], "no cells, no figure");
    }

    #[test]
    fn of_a_cluster_that_is_being_read_is_told_what_was_told_before() {
        let mut kept = Kept::default();
        kept.take_in("r", Some(seen(&[("dev", Some(figure(4, 4))), ("prod", None)])));
        assert_eq!(told(&mut kept, &["r"]), [Some("100%".to_owned()), None]);
        kept.take_in("r", Some(seen(&[("dev", Some(figure(4, 4))), ("prod", Some(figure(4, 4)))])));
        kept.take_in("r", Some(seen(&[("dev", Some(figure(4, 4))), ("prod", None)])));
        assert_eq!(told(&mut kept, &["r"]), percent(["100%", "100%"]));
    }
}
