//! What replicas serve to others: SCIM, by which identity providers push people. Every replica does, whether it leads or not.

pub mod scim;
