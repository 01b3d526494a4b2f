//! Systems that fail, hang, ask for patience or do not let usher in. Each fault is a real one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use usher::connectors::error::{ConnectorError, Retry};
use usher::plan::account::{AccountChange, Managed};

use super::{Fault, Target, named, owner, profile};

const NONE: Managed = Managed::Only(BTreeSet::new());
/// No call may take longer, whatever the system does.
const BOUND: Duration = Duration::from_secs(45);

async fn looked(target: &dyn Target, fault: Fault) -> Option<ConnectorError> {
    let connector = target.faulty(fault).await?;
    let start = Instant::now();
    let error = connector.find(&named("ada"), &NONE).await.expect_err("no answer");
    assert!(start.elapsed() < BOUND, "it took {:?}", start.elapsed());
    assert!(!error.chain().contains(&target.secret()), "no secret in an error");
    Some(error)
}

/// Nothing listens: to be tried again later.
pub async fn a_closed_door_is_told(target: &dyn Target) {
    let error = looked(target, Fault::Closed).await.expect("every system can be down");
    assert!(matches!(error, ConnectorError::Unreachable { .. }) && error.retry() == Retry::Backoff, "{}", error.chain());
}

/// It listens and says nothing: given up in time.
pub async fn a_system_that_hangs_is_told(target: &dyn Target) {
    let error = looked(target, Fault::Silent).await.expect("every system can hang");
    assert!(matches!(error, ConnectorError::Unreachable { .. }) && error.retry() == Retry::Backoff, "{}", error.chain());
}

/// The account was made, and nobody said so: the next try finds it, and makes no second one.
pub async fn a_change_whose_answer_was_lost_is_made_once(target: &dyn Target) {
    let connector = target.connector().await;
    let ada = &target.login("ada");
    let faulty = target.faulty(Fault::CutAfter).await.expect("every connection can be cut");
    let create = AccountChange::Create { profile: connector.keeps(profile(ada)), owner: owner(ada) };
    let error = faulty.apply(&create).await.expect_err("the answer is lost");
    assert!(matches!(error, ConnectorError::Unreachable { .. }), "{}", error.chain());
    let id = connector.apply(&create).await.expect("made, or made before").id.expect("an id");
    let all = connector.list(&NONE).await.expect("a list");
    let hers: Vec<&str> = all.iter().filter(|it| it.profile.username == *ada).map(|it| it.id.as_str()).collect();
    assert_eq!(hers, [id.as_str()]);
}

/// usher's own credential is refused: somebody has to change something.
pub async fn a_refused_credential_is_told(target: &dyn Target) {
    let error = looked(target, Fault::Unauthorized).await.expect("every system knows credentials");
    assert!(matches!(error, ConnectorError::Unauthorized { .. }) && error.retry() == Retry::OnChange, "{}", error.chain());
}

/// As long as it asks for.
pub async fn a_system_that_asks_for_patience_gets_it(target: &dyn Target) {
    if let Some(error) = looked(target, Fault::Patience(7)).await {
        assert_eq!(error.retry(), Retry::After(Duration::from_secs(7)), "{}", error.chain());
    }
}

/// It says that it fails.
pub async fn a_broken_system_is_told(target: &dyn Target) {
    if let Some(error) = looked(target, Fault::Broken).await {
        assert!(matches!(error, ConnectorError::Unreachable { .. }) && error.retry() == Retry::Backoff, "{}", error.chain());
    }
}
