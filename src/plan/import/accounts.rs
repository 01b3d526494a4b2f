//! Whose the accounts of outside systems are that usher did not make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;

use crate::api::developer::AccountPin;
use crate::api::{Developer, Provider};
use crate::plan::account::{Account, AccountState};
use crate::plan::spelling::is_email;

use super::grant::Grant;
use super::left::{Left, Sort};
use super::people::People;
use super::{Holdings, Inputs};

/// All accounts of the systems that were asked, by Provider.
pub type Accounts = BTreeMap<String, Vec<Account>>;

type Why = (String, String);

/// The addresses of the accounts that are people's. Who has one and is no Developer is to be one.
pub(super) fn addresses(inputs: Inputs<'_>) -> impl Iterator<Item = &str> {
    let providers = inputs.accounts.iter().filter_map(move |(name, accounts)| Some((inputs.scene.world.provider(name)?, accounts)));
    let all = providers.flat_map(|(provider, accounts)| accounts.iter().map(move |account| (provider, account)));
    let fine = all.filter(|(provider, account)| untouched(provider, account).is_none() && account.state == AccountState::Enabled);
    fine.map(|(_, account)| account.profile.email.as_str()).filter(|email| is_email(email))
}

/// Why nobody is to have an account, if so.
fn untouched(provider: &Provider, account: &Account) -> Option<(Sort, &'static str)> {
    if account.owner.is_some() {
        Some((Sort::Usher, "usher made it, or took it over"))
    } else if account.administrator || provider.spec.protected.contains(&account.profile.username) {
        Some((Sort::System, "usher never touches administrators and protected accounts"))
    } else {
        None
    }
}

/// Pins accounts to those whose they are, who hold them and their groups from then on. The others are left.
pub(super) fn pin(inputs: Inputs<'_>, people: &mut People, holdings: &mut Holdings, left: &mut BTreeSet<Left>) {
    for (name, accounts) in inputs.accounts {
        let Some(provider) = inputs.scene.world.provider(name) else { continue };
        let mut of: BTreeMap<String, Vec<&Account>> = BTreeMap::new();
        for account in accounts {
            let title = title(name, account);
            if let Some((sort, why)) = untouched(provider, account) {
                left.insert(Left::other(sort, title, "", why));
                continue;
            }
            match owner(inputs, people, account) {
                Ok(developer) => of.entry(developer).or_default().push(account),
                Err(why) => drop(left.insert(Left::people(title, &account.profile.email, why))),
            }
        }
        for (developer, accounts) in of {
            if let Err(why) = take(inputs, people, provider, (&developer, &accounts), holdings) {
                left.extend(accounts.iter().map(|account| Left::people(title(name, account), format!("dev/{developer}"), why.clone())));
            }
        }
    }
}

fn title(provider: &str, account: &Account) -> String {
    format!("Account {} at uprov/{provider}", account.profile.username)
}

/// Whose an account is: who has its e-mail address, else who has its login.
fn owner(inputs: Inputs<'_>, people: &People, account: &Account) -> Result<String, Why> {
    let written = inputs.scene.world.developers().map(|(_, developer)| Arc::as_ref(developer));
    let everybody: Vec<&Developer> = written.chain(people.new_ones()).collect();
    let profile = &account.profile;
    let by_email = |it: &&&Developer| !profile.email.is_empty() && it.spec.email.eq_ignore_ascii_case(&profile.email);
    let by_login = |it: &&&Developer| it.spec.username.clone().unwrap_or_else(|| it.name_any()).eq_ignore_ascii_case(&profile.username);
    let names = |found: Vec<&&Developer>| found.into_iter().map(|it| it.name_any()).collect::<BTreeSet<String>>();
    let mut found = names(everybody.iter().filter(by_email).collect());
    // An address of somebody else's says that she is somebody else.
    if found.is_empty() && profile.email.is_empty() {
        found = names(everybody.iter().filter(by_login).collect());
    }
    match (found.pop_first(), found.len()) {
        (Some(name), 0) => Ok(name),
        (Some(_), _) => why("several people have its e-mail address or login", "pin it by hand under accounts of the one whose it is"),
        (None, _) => {
            why("nobody who is imported or declared has its e-mail address or login", "make her a Developer with a pin, or leave it")
        }
    }
}

fn why<T>(why: &str, remedy: &str) -> Result<T, Why> {
    Err((why.to_owned(), remedy.to_owned()))
}

/// Pins the one account of a person at a Provider.
fn take(
    inputs: Inputs<'_>,
    people: &mut People,
    provider: &Provider,
    (developer, accounts): (&str, &[&Account]),
    holdings: &mut Holdings,
) -> Result<(), Why> {
    let [account] = accounts else {
        return why("she has several accounts there, and usher keeps one", "pin one of them by hand under accounts");
    };
    if account.state != AccountState::Enabled {
        return why("one cannot log in with it now, and usher would let her in", "pin it by hand when she is to be let in");
    }
    let name = provider.name_any();
    let id = Some(account.id.clone()).filter(|id| !id.is_empty());
    let pin = AccountPin { provider: name.clone(), username: Some(account.profile.username.clone()), id, adopt: true };
    let pinned = || inputs.scene.world.developer(developer).is_some_and(|it| it.spec.accounts.contains(&pin));
    match people.new_one_mut(developer) {
        None if pinned() => {}
        None => return why("her Developer is there already, and does not pin it", "pin it there under accounts, with adopt: true"),
        Some(person) => {
            person.spec.accounts.push(pin);
            // Another name to show would be told to the system.
            let shown =
                Some(&account.profile.display_name).filter(|shown| (1..=128).contains(&shown.chars().count()) && **shown != developer);
            person.spec.display_name = person.spec.display_name.take().or_else(|| shown.cloned());
        }
    }
    let hers = holdings.entry(developer.to_owned()).or_default();
    hers.insert(Grant::Account { provider: name.clone() });
    hers.extend(account.groups.iter().map(|group| Grant::Group { provider: name.clone(), group: group.clone() }));
    Ok(())
}
