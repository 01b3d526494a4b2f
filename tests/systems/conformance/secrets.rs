//! Nothing that is printed, told or logged has a secret in it.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{AccountChange, Managed};

use super::{Fault, Target, named, owner, profile};
use crate::support::evidence::{listen, logged};

const NONE: Managed = Managed::Only(BTreeSet::new());
/// What is in every answer that repeats what was asked.
const ECHO: &str = "you said";

/// All that people may get to see of an error.
fn told(error: &ConnectorError) -> String {
    format!("{} {error} {error:?} {error:#?}", error.chain())
}

/// Neither usher's own credential nor a person's password is in what is printed, told or logged.
pub async fn no_secret_is_printed(target: &dyn Target) {
    listen();
    let ada = &target.login("ada");
    let connector = target.connector().await;
    let create = AccountChange::Create { profile: connector.keeps(profile(ada)), owner: owner(ada) };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    let mut printed = format!("{connector:?}");
    let mut secrets = vec![target.secret()];
    let issue = AccountChange::IssuePassword { id };
    if let Ok(issued) = connector.apply(&issue).await {
        printed += &format!("{issued:?}");
        secrets.push(issued.password.expect("a password").expose_secret().to_owned());
    }
    let account = connector.find(&named(ada), &NONE).await.expect("an answer");
    printed += &format!("{account:?}");
    for fault in [Fault::CutAfter, Fault::Patience(7), Fault::Broken, Fault::Closed] {
        let Some(faulty) = target.faulty(fault).await else { continue };
        if let Err(error) = faulty.apply(&issue).await {
            printed += &told(&error);
        }
    }
    printed += &logged();
    assert!(printed.contains("the log is heard"), "or the rest says nothing");
    for secret in secrets {
        assert!(!printed.contains(&secret), "{}", printed.replace(&secret, ">>> the secret <<<"));
    }
}

/// A system that refuses a password may repeat it: nothing that it says then is told.
pub async fn a_password_that_is_refused_is_not_repeated(target: &dyn Target) {
    listen();
    let ada = &target.login("ada");
    let connector = target.connector().await;
    let create = AccountChange::Create { profile: connector.keeps(profile(ada)), owner: owner(ada) };
    let id = connector.apply(&create).await.expect("made").id.expect("an id");
    for status in [400, 401, 403, 404, 409, 422, 500, 503] {
        let Some(faulty) = target.faulty(Fault::Echo(status)).await else { return };
        let error = faulty.apply(&AccountChange::IssuePassword { id: id.clone() }).await.expect_err("it is refused");
        assert!(!told(&error).contains(ECHO), "{status}: {}", told(&error));
    }
    assert!(!logged().contains(ECHO));
}
