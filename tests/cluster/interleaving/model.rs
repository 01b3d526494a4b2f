//! What was written, and what follows from it by the words of DESIGN.md.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::access::{Matrix, Questions};
use crate::support::dice::Dice;

pub const PEOPLE: [&str; 5] = ["ada", "bob", "cyd", "dan", "eve"];
pub const DEV: &str = "shared-dev";
pub const STAGING: &str = "shared-staging";
/// Each Role, which has one Binding of the same name.
pub const ROLES: [&str; 3] = ["look", "work", "care"];
pub const PROBES: [&str; 3] = ["get pods", "create configmaps", "get widgets.example.com"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Active,
    Suspended,
    Departed,
}

/// One step by dice.
#[derive(Clone, Debug)]
pub enum Step {
    /// A Developer of that name is made, with or without a personId, as soon as the one before is gone.
    Create(&'static str, Option<String>),
    Set(&'static str, State),
    Delete(&'static str),
    Lock(&'static str, String, bool),
    Lift(String),
    Forget(String),
    /// Somebody is put on the list of a Binding, or taken off it.
    Toggle(&'static str, &'static str),
    /// A Role is given for one Environment more or fewer.
    Move,
    /// A colleague is let into somebody's workspace.
    Befriend(&'static str),
    /// A colleague binds somebody's identity where usher does not work.
    Bind(&'static str),
}

#[derive(Clone, Debug)]
pub struct Person {
    pub uid: String,
    pub id: Option<String>,
    pub state: State,
}

impl Person {
    /// Who she is, whatever objects she had.
    pub fn key(&self) -> String {
        self.id.clone().map_or_else(|| format!("uid {}", self.uid), |id| format!("id {id}"))
    }
}

#[derive(Clone, Debug)]
pub struct Stop {
    pub person: &'static str,
    pub lifted: bool,
}

/// What was written.
#[derive(Default)]
pub struct Model {
    pub people: BTreeMap<&'static str, Person>,
    pub locks: BTreeMap<String, Stop>,
    pub bindings: BTreeSet<(&'static str, &'static str)>,
    pub moved: bool,
    /// Whose a workspace is, by the name of its person.
    pub owners: BTreeMap<&'static str, String>,
    /// Workspaces into which a colleague was let.
    pub friends: BTreeSet<&'static str>,
    /// Who a UID is.
    pub keys: BTreeMap<String, String>,
    /// Everybody's ServiceAccounts that ever were, with the name and who she is.
    pub accounts: BTreeMap<String, (&'static str, String)>,
    pub lost_workspaces: usize,
    pub counts: BTreeMap<&'static str, usize>,
    made: usize,
}

impl Step {
    /// A step that makes sense.
    pub fn by(dice: &mut Dice, model: &Model) -> Self {
        let person = *dice.pick(&PEOPLE).expect("some");
        let number = model.made;
        let lock = |dice: &mut Dice| Self::Lock(person, format!("lock-{number}"), dice.coin());
        match dice.roll(24) {
            0..=8 => match model.people.get(person).map(|it| it.state) {
                None => Self::create(dice, person),
                Some(State::Active) => Self::Set(person, if dice.coin() { State::Suspended } else { State::Departed }),
                Some(_) => Self::Set(person, *dice.pick(&[State::Active, State::Active, State::Suspended, State::Departed]).expect("some")),
            },
            9..=10 if model.people.contains_key(person) => Self::Delete(person),
            11..=12 => lock(dice),
            13..=15 => {
                let holding: Vec<_> = model.locks.iter().filter(|(_, stop)| !stop.lifted).map(|(name, _)| name.clone()).collect();
                dice.pick(&holding).cloned().map_or_else(|| lock(dice), Self::Lift)
            }
            16 => {
                let lifted: Vec<_> = model.locks.iter().filter(|(_, stop)| stop.lifted).map(|(name, _)| name.clone()).collect();
                dice.pick(&lifted).cloned().map_or_else(|| lock(dice), Self::Forget)
            }
            17..=18 => Self::Toggle(dice.pick(&ROLES).expect("some"), person),
            19 => Self::Move,
            20..=21 if model.active(person) => Self::Befriend(person),
            22..=23 if model.active(person) => Self::Bind(person),
            _ if model.people.contains_key(person) => Self::Set(person, State::Active),
            _ => Self::create(dice, person),
        }
    }

    fn create(dice: &mut Dice, person: &'static str) -> Self {
        Self::Create(person, dice.coin().then(|| format!("{person}-{}", dice.roll(2))))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Create(..) => "created",
            Self::Set(_, State::Active) => "activated",
            Self::Set(_, State::Suspended) => "suspended",
            Self::Set(_, State::Departed) => "departed",
            Self::Delete(_) => "deleted",
            Self::Lock(..) => "locked",
            Self::Lift(_) => "lifted",
            Self::Forget(_) => "locks deleted",
            Self::Toggle(..) => "bindings edited",
            Self::Move => "roles edited",
            Self::Befriend(_) => "friends",
            Self::Bind(_) => "bound by others",
        }
    }
}

impl Model {
    /// Takes in a step; `uid` is that of who was made.
    pub fn take(&mut self, step: &Step, uid: &str) {
        self.made += 1;
        *self.counts.entry(step.name()).or_default() += 1;
        match step {
            Step::Create(name, id) => {
                let person = Person { uid: uid.to_owned(), id: id.clone(), state: State::Active };
                self.keys.insert(uid.to_owned(), person.key());
                self.people.insert(name, person);
            }
            Step::Set(name, state) => self.people.get_mut(name).expect("she is there").state = *state,
            Step::Delete(name) => drop(self.people.remove(name)),
            Step::Lock(person, name, _) => drop(self.locks.insert(name.clone(), Stop { person, lifted: false })),
            Step::Lift(name) => self.locks.get_mut(name).expect("it is there").lifted = true,
            Step::Forget(name) => drop(self.locks.remove(name)),
            Step::Toggle(role, person) => {
                if !self.bindings.remove(&(*role, *person)) {
                    self.bindings.insert((role, person));
                }
            }
            Step::Move => self.moved = !self.moved,
            Step::Befriend(person) => drop(self.friends.insert(person)),
            Step::Bind(_) => {}
        }
    }

    pub fn locked(&self, name: &str) -> bool {
        self.locks.values().any(|stop| stop.person == name && !stop.lifted)
    }

    /// "while the Developer is Active (…, no Lock)".
    pub fn active(&self, name: &str) -> bool {
        self.people.get(name).is_some_and(|person| person.state == State::Active) && !self.locked(name)
    }

    /// Whether somebody who is this person is there and has not left.
    pub fn stays(&self, name: &str, key: &str) -> bool {
        self.people.get(name).is_some_and(|person| person.state != State::Departed && person.key() == key)
    }

    pub fn owns_workspace(&self, name: &str) -> bool {
        let Some(person) = self.people.get(name) else { return false };
        self.owners.get(name).is_none_or(|owner| *owner == person.key())
    }

    pub fn login(name: &str) -> String {
        format!("{name} by login")
    }

    pub fn workspace(name: &str) -> String {
        format!("dev-{name}")
    }

    pub fn holders(&self, role: &str) -> Vec<&'static str> {
        self.bindings.iter().filter(|(it, _)| *it == role).map(|(_, person)| *person).collect()
    }

    /// What everybody may do.
    pub fn expected(&self, questions: &Questions) -> Matrix {
        let mut cells = Matrix::new();
        let mut add = |who: &str, place: &str, probes: &[&str]| cells.extend(questions.cells(&[who], &[place], probes));
        for name in PEOPLE.into_iter().filter(|name| self.active(name)) {
            let login = Self::login(name);
            if self.bindings.contains(&("look", name)) {
                add(name, DEV, &["get pods"]);
                if !self.moved {
                    add(&login, STAGING, &["get pods"]);
                }
            }
            if self.bindings.contains(&("work", name)) {
                add(name, DEV, &["get pods", "create configmaps"]);
            }
            if self.bindings.contains(&("care", name)) {
                add(&login, STAGING, &["get widgets.example.com"]);
            }
            if self.owns_workspace(name) {
                add(name, &Self::workspace(name), &["get pods", "create configmaps"]);
            }
        }
        cells
    }

    pub fn tally(&self) -> String {
        self.counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}
