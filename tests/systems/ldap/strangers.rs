//! Those whom usher does not know, and what the directory keeps of them.

use std::collections::BTreeMap;

use usher::api::provider::LockOut;

use crate::conformance::{Target, owner, work_among_strangers};
use usher::plan::account::Owner;

use super::Directory;
use super::server::Entry;

/// What says of a group that somebody changed it.
const CHANGED: [&str; 3] = ["entryCSN", "modifiersName", "modifyTimestamp"];

/// Strangers of every sort, in the groups that usher gives and takes and in others.
async fn make_strangers(directory: &Directory) {
    directory.make_crowd(20).await;
    let server = &directory.server;
    let below = format!("ou=former,{}", server.env("PEOPLE_DN"));
    server.add(&below, &[("objectClass", &["organizationalUnit"]), ("ou", &["former"])]).await;
    let same = [("objectClass", &["inetOrgPerson"][..]), ("cn", &["ada Lovelace"]), ("sn", &["Lovelace"]), ("mail", &["ada@example.com"])];
    server.add(&format!("cn=ada Lovelace,{below}"), &same).await;
    let other = Owner { installation: "7b1c1f0a-5f6e-4a52-8d5e-2f3c0f3b9a77".to_owned(), ..owner("ada") };
    for (number, attribute, values) in [
        (1, "employeeType", &["Contractor", &other.mark()][..]),
        (2, "userPassword", &["a-strangers-Passw0rd"]),
        (3, "pwdAccountLockedTime", &["000001010000Z"]),
        (4, "objectClass", &["inetOrgPerson", "ldapPublicKey"]),
        (4, "sshPublicKey", &["# usher-locked: ssh-ed25519 AAAA", "ssh-ed25519 BBBB usher: laptop"]),
        (5, "mail", &["bob@example.com", "ada@example.com"]),
    ] {
        server.set(&server.person(&format!("stranger-{number}")), attribute, values).await;
    }
    let dns = [6, 7].map(|number| server.person(&format!("stranger-{number}")));
    let dns = dns.each_ref().map(String::as_str);
    let nobody = "cn=empty-membership-placeholder";
    directory.make("groupOfNames", "developers", "member", &dns).await;
    directory.make("groupOfUniqueNames", "releases", "uniqueMember", &[nobody]).await;
    directory.make("groupOfUniqueNames", "choir", "uniqueMember", &dns).await;
    directory.make("posixGroup", "unix", "memberUid", &["stranger-6", "adam"]).await;
}

/// What the directory has, but for when and by whom groups were changed in which somebody of usher's was meanwhile.
async fn entries(directory: &Directory) -> BTreeMap<String, Entry> {
    let mut entries = directory.server.everything().await;
    for group in ["developers", "releases"] {
        entries.get_mut(&directory.server.group(group)).expect("it is there").retain(|name, _| !CHANGED.contains(&name.as_str()));
    }
    entries
}

/// From the first day of usher's people to the last nothing changes of anybody else's, not even when it was last changed.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_untouched() {
    for lock_out in [LockOut::Password, LockOut::Policy] {
        let directory = Directory::start(lock_out).await;
        make_strangers(&directory).await;
        let before = entries(&directory).await;
        work_among_strangers(directory.usher().as_ref(), &["developers".to_owned(), "releases".to_owned()]).await;
        let after = entries(&directory).await;
        let differ: Vec<_> = before.keys().chain(after.keys()).filter(|dn| before.get(*dn) != after.get(*dn)).collect();
        assert!(differ.is_empty(), "{lock_out:?}: {differ:?}");
        let stranger = &before[&directory.server.person("stranger-6")];
        assert!(CHANGED.iter().chain(&["memberOf", "entryUUID"]).all(|name| stranger.contains_key(*name)), "{stranger:?}");
    }
}
