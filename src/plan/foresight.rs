//! What would be done to an account, to the end, where nothing is: steps are decided one look after the other, so each look is imagined.

use std::collections::BTreeSet;

use super::account::{Account, AccountChange, AccountState, Capability, Wish, steps};

/// After so many looks an account is as it should be.
const LOOKS: usize = 6;

/// Everything that would be done, in this order.
pub fn foreseen(found: Option<&Account>, wish: &Wish, can: &BTreeSet<Capability>) -> Vec<AccountChange> {
    let (mut account, mut wish) = (found.cloned(), wish.clone());
    let mut all = Vec::new();
    for _ in 0..LOOKS {
        let next = steps(account.as_ref(), &wish, can).changes;
        if next.is_empty() {
            break;
        }
        for change in next {
            wish.password &= !matches!(change, AccountChange::IssuePassword { .. });
            account = after(account, &change);
            all.push(change);
        }
    }
    all
}

/// What a system makes of a change.
fn after(account: Option<Account>, change: &AccountChange) -> Option<Account> {
    let mut account = account.unwrap_or_default();
    match change {
        AccountChange::Create { profile, owner } => {
            account = Account { profile: profile.clone(), owner: Some(owner.clone()), state: AccountState::Enabled, ..Account::default() };
        }
        AccountChange::Adopt { owner, .. } => account.owner = Some(owner.clone()),
        AccountChange::SetProfile { profile, .. } => account.profile = profile.clone(),
        AccountChange::SetEnabled { enabled: true, .. } => account.state = AccountState::Enabled,
        AccountChange::SetEnabled { enabled: false, .. } => account.state = AccountState::Disabled,
        AccountChange::Join { group, .. } => drop(account.groups.insert(group.clone())),
        AccountChange::Leave { group, .. } => drop(account.groups.remove(group)),
        AccountChange::RevokeCredentials { .. } => {
            account.credentials = false;
            account.profile.ssh_keys.clear();
        }
        AccountChange::IssuePassword { .. } => account.credentials = true,
        AccountChange::CancelInvite { .. } | AccountChange::Delete { .. } => return None,
    }
    Some(account)
}
