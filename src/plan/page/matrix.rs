//! Who has what, where: a row for each person, a column for each place. It is fetched once and scrolled through, so names stand in it once and are counted by
//! their place in a list.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::api::{Developer, Grant, GrantState};
use crate::plan::placement::Scene;
use crate::plan::target::{environment_of, environment_target, provider_of, provider_target};

use super::checks::Checks;
use super::rights::{Kind, Reader, View};

/// The matrix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The columns: Environments, then Providers.
    pub places: Vec<Place>,
    /// The Roles that somebody holds.
    pub roles: Vec<String>,
    /// The teams that somebody is in, or by which somebody holds a Role.
    pub teams: Vec<String>,
    /// The rows, by name.
    pub people: Vec<Row>,
    /// What is left out for want of a permission, a sentence each.
    pub missing: Vec<String>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// environment or provider.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

/// A row, as an array: the Developer's name; her display name, or an empty text; how she stands, or an empty text; the numbers of her teams; what she has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row(pub String, pub String, pub String, pub Vec<usize>, pub Vec<Cell>);

/// What somebody has in one place, as an array: the number of the place, and each Role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell(pub usize, pub Vec<Held>);

/// A Role that is held in a place, as an array: its number; since when, in seconds of Unix time; and 1 if it was seen to be right, else 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Held(pub usize, pub i64, pub u8);

/// What Grants say, taken in one by one: there are several for each person, and all of them at once would be much to keep.
#[derive(Debug, Default)]
pub struct Draft {
    places: Names<Place>,
    roles: Names<String>,
    teams: Names<String>,
    people: BTreeMap<String, Person>,
}

/// What one person has: place, Role, and since when.
#[derive(Debug, Default)]
struct Person {
    teams: BTreeSet<usize>,
    has: BTreeMap<usize, BTreeMap<usize, i64>>,
}

/// Names by number, in the order in which they came.
#[derive(Debug)]
struct Names<T> {
    numbers: HashMap<T, usize>,
    names: Vec<T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), names: Vec::new() }
    }
}

impl<T: Clone + Eq + std::hash::Hash + Ord> Names<T> {
    fn number(&mut self, name: &T) -> usize {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        self.names.push(name.clone());
        self.numbers.insert(name.clone(), self.names.len() - 1);
        self.names.len() - 1
    }

    /// The names in order, and the place of each number among them.
    fn sorted(&self) -> (Vec<T>, HashMap<usize, usize>) {
        let mut order: Vec<(usize, &T)> = self.names.iter().enumerate().collect();
        order.sort_by_key(|(_, name)| *name);
        let places = order.iter().enumerate().map(|(place, (number, _))| (*number, place)).collect();
        (order.into_iter().map(|(_, name)| name.clone()).collect(), places)
    }
}

impl Draft {
    /// Takes in a Grant. What is over is left out.
    pub fn take_in(&mut self, grant: &Grant) {
        let spec = &grant.spec;
        if spec.state != GrantState::Active {
            return;
        }
        let person = self.people.entry(spec.developer.name.clone()).or_default();
        let role = self.roles.number(&spec.role);
        for target in spec.targets.iter().filter(|target| target.until.is_none()) {
            let Some(place) = place(&target.name) else { continue };
            person.has.entry(self.places.number(&place)).or_default().insert(role, target.since.0.as_second());
        }
        for team in spec.via.iter().filter(|via| via.until.is_none()).filter_map(|via| via.team.as_ref()) {
            person.teams.insert(self.teams.number(team));
        }
    }

    /// The Roles that somebody holds, which are to be looked at.
    pub fn roles(&self) -> &[String] {
        &self.roles.names
    }

    /// The matrix as a reader may see it.
    pub fn finish(mut self, scene: Scene<'_>, checks: &Checks, reader: &Reader) -> Matrix {
        let known = reader.may(Kind::Developers);
        for (name, developer) in scene.world.developers().filter(|_| known) {
            let teams: Vec<usize> = developer.spec.teams.iter().map(|team| self.teams.number(team)).collect();
            self.people.entry(name.clone()).or_default().teams.extend(teams);
        }
        let (places, of_place) = self.places.sorted();
        let (roles, of_role) = self.roles.sorted();
        let (teams, of_team) = self.teams.sorted();
        let row = |(name, person): (&String, &Person)| {
            let developer = scene.world.developer(name).filter(|_| known);
            let cell = |(place, held): (&usize, &BTreeMap<usize, i64>)| {
                let target = self.places.names.get(*place).map(target)?;
                let held = held.iter().filter_map(|(role, since)| {
                    let right = checks.verified(scene, self.roles.names.get(*role)?, &target, name).is_ok();
                    Some(Held(*of_role.get(role)?, *since, u8::from(right)))
                });
                Some(Cell(*of_place.get(place)?, sorted(held.collect())))
            };
            let mut cells: Vec<Cell> = person.has.iter().filter_map(cell).collect();
            cells.sort_by_key(|cell| cell.0);
            let teams = sorted(person.teams.iter().filter_map(|team| of_team.get(team).copied()).collect());
            let display = developer.map(|developer| developer.display_name()).filter(|display| display != name);
            Row(name.clone(), display.unwrap_or_default().to_owned(), developer.map(|it| state(it)).unwrap_or_default(), teams, cells)
        };
        let people = self.people.iter().map(row).collect();
        Matrix { places, roles, teams, people, missing: reader.misses(View::Access) }
    }
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

fn place(target: &str) -> Option<Place> {
    let of = |kind, name: &str| Place { kind, name: name.to_owned() };
    environment_of(target).map(|name| of(ENVIRONMENT, name)).or_else(|| provider_of(target).map(|name| of("provider", name)))
}

const ENVIRONMENT: &str = "environment";

fn target(place: &Place) -> String {
    if place.kind == ENVIRONMENT { environment_target(&place.name) } else { provider_target(&place.name) }
}

/// How somebody stands, as kubectl shows it.
pub(super) fn state(developer: &Developer) -> String {
    let state = developer.status.as_ref().and_then(|status| status.state);
    state.map(|state| format!("{state:?}")).unwrap_or_default()
}
