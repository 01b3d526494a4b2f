//! How the places are called in which somebody has something, in Grants, receipts and Locks.

/// What begins the target of an Environment.
const ENVIRONMENT: &str = "environment/";
/// What begins the target of an account.
pub const PROVIDER: &str = "provider/";

/// The target of an Environment.
pub fn environment_target(environment: &str) -> String {
    format!("{ENVIRONMENT}{environment}")
}

/// The target of an account.
pub fn provider_target(provider: &str) -> String {
    format!("{PROVIDER}{provider}")
}

/// The Environment of a target, if it is one's.
pub fn environment_of(target: &str) -> Option<&str> {
    target.strip_prefix(ENVIRONMENT)
}

/// The Provider of a target, if it is an account's.
pub fn provider_of(target: &str) -> Option<&str> {
    target.strip_prefix(PROVIDER)
}
