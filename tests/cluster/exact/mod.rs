//! Effective access equals what the Bindings in force give, before, during and after every kind of edit (DESIGN.md, promise 1).
//!
//! Each test has a [`Stage`]: Environments dev, staging and prod of its own, told apart by a label that nobody else uses, with two shared namespaces each, and
//! four people. A step asks the whole matrix of people, namespaces and permissions all the time while an edit is made: [`Stage::step`].

mod broken;
mod deletions;
mod findings;
mod homes;
mod modes;
mod onboarding;
mod people;
mod reasons;
mod replaced;
mod roles;
mod scopes;
mod shards;
mod stage;
mod territory;
mod times;
mod wide;

use stage::{DEVELOP, EDIT, GET, MAKE, Stage, VIEW};
