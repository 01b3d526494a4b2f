//! What is done to an account: one change at a time, told in words, and a password delivered where there is one.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::metadata::{ACCOUNTS_SECRET, DEVELOPER};
use crate::cluster::accounts::{Delivery, deliver};
use crate::connectors::{Applied, Connector};
use crate::plan::account::{Account, AccountChange};
use crate::plan::cell::{Cell, Undone};
use crate::plan::change::labels;
use crate::plan::cluster::ClusterKey;
use crate::plan::entitlement::{delivered_note, delivery};

use super::super::context::Context;
use super::desk::Desk;
use super::settle::{Case, Failure};

/// What would be done, where usher only looks.
pub(super) fn observed(mut cell: Cell, would: &[AccountChange]) -> Cell {
    let would: Vec<String> = would.iter().map(words).collect();
    if !would.is_empty() {
        cell.undone = Some(Undone::Observed);
        let would = format!("only observed: would {}", would.join(", "));
        cell.account.message = Some(cell.account.message.map_or_else(|| would.clone(), |obstacle| format!("{obstacle}; {would}")));
    }
    cell
}

/// A change in words.
fn words(change: &AccountChange) -> String {
    match change {
        AccountChange::Join { group, .. } => format!("add it to {group}"),
        AccountChange::Leave { group, .. } => format!("take it out of {group}"),
        other => word(other).to_owned(),
    }
}

const fn word(change: &AccountChange) -> &'static str {
    match change {
        AccountChange::Create { .. } => "make it",
        AccountChange::Adopt { .. } => "adopt it",
        AccountChange::SetProfile { .. } => "change its profile",
        AccountChange::SetEnabled { enabled: true, .. } => "let it in",
        AccountChange::SetEnabled { enabled: false, .. } => "lock it out",
        AccountChange::Join { .. } => "add it to a group",
        AccountChange::Leave { .. } => "take it out of a group",
        AccountChange::RevokeCredentials { .. } => "revoke its credentials",
        AccountChange::IssuePassword { .. } => "issue a password",
        AccountChange::CancelInvite { .. } => "cancel its invitation",
        AccountChange::Delete { .. } => "delete it",
    }
}

/// Makes a change. Returns the id of an account that is somebody's from now on.
pub(super) async fn carry_out(
    context: &Arc<Context>,
    desk: &Desk,
    connector: &dyn Connector,
    who: &str,
    (case, found): (&Case, Option<&Account>),
    change: &AccountChange,
) -> Result<Option<String>, Failure> {
    let Some(home) = context.cluster(&ClusterKey::Home) else { return Ok(None) };
    home.may_write()?;
    let Applied { id, password } = connector.apply(change).await?;
    tracing::info!(provider = desk.name(), who, change = words(change), "changed an account");
    let id = if let AccountChange::Adopt { id, .. } = change { Some(id.clone()) } else { id };
    let (Some(password), Some(account)) = (password, found) else { return Ok(id) };
    let now = context.now();
    let meta = context.memory.read(|content, scene| {
        let developer = content.world.developer(who)?;
        let namespace = delivery(scene, developer)?.to_owned();
        let person = &case.desired.wish.owner.person;
        let own = [(DEVELOPER, who), (crate::api::metadata::PERSON, person.as_str())];
        let mut annotations = crate::plan::workspace::uid_annotation(developer);
        annotations.insert(delivered_note(desk.name()), format!("{} at {}", account.id, crate::plan::developer::seconds(now)));
        Some(ObjectMeta {
            name: Some(ACCOUNTS_SECRET.to_owned()),
            namespace: Some(namespace),
            labels: Some(labels(&scene.settings.installation, own)),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        })
    });
    // Without a place for it the password is nobody's, and another one is issued when there is one.
    let Some(meta) = meta else { return Ok(id) };
    let url = case.provider.spec.system().map(|system| system.url().to_owned()).unwrap_or_default();
    let parcel = Delivery { meta, provider: desk.name().to_owned(), username: account.profile.username.clone(), password, url };
    deliver(&home, &context.memory, &parcel).await?;
    Ok(id)
}
