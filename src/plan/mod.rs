//! All policy, pure: what people wrote and what clusters hold goes in, the next writes and what to say come out.
//!
//! No client, clock, environment, randomness or await in this layer; time is an argument. Planners return plans and findings, never errors:
//! one bad reference must not take away what is valid. Entry points: [`role::plan_role`], [`developer::plan_developer`],
//! [`credential::plan_credentials`], [`grant::plan_grants`].

pub mod access;
pub mod account;
pub mod account_brake;
pub mod binding;
pub mod bound;
pub mod brake;
pub mod cell;
pub mod change;
pub mod cluster;
pub mod credential;
pub mod departing;
pub mod departures;
pub mod developer;
pub mod ending;
pub mod entitlement;
pub mod environment;
pub mod export;
pub mod fence;
pub mod finding;
pub mod foresight;
pub mod grant;
pub mod holdings;
pub mod identity;
pub mod includes;
pub mod lane;
pub mod locking;
pub mod name;
pub mod offline;
pub mod orphan;
pub mod person;
pub mod placement;
pub mod provider;
pub mod purge;
pub mod question;
pub mod rbac;
pub mod receipt;
pub mod recognition;
pub mod request;
pub mod retention;
pub mod revision;
pub mod role;
pub mod seal;
pub mod settings;
pub mod shelf;
pub mod source;
pub mod status;
pub mod subjects;
pub mod territory;
pub mod verify;
pub mod why;
pub mod workspace;
pub mod world;
