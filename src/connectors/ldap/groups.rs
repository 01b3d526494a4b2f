//! Groups: sets of members by DN (groupOfNames, groupOfUniqueNames, groupOfMembers) or by login (posixGroup), named by `cn`.

use std::collections::{BTreeMap, BTreeSet};

use ldap3::{Scope, ldap_escape};

use crate::connectors::error::ConnectorError;
use crate::plan::account::Managed;

use super::dn;
use super::person::attribute;
use super::refusal::{code, rejected};
use super::wire::{Edit, Entry, Line, Search, add, delete, done_or};

/// What is a group.
const GROUP: &str = "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=groupOfMembers)(objectClass=posixGroup))";
/// The attributes that members are in, and whether they are there by login instead of by DN.
const MEMBERS: [(&str, bool); 3] = [("member", false), ("uniqueMember", false), ("memberUid", true)];
/// What is asked of each group.
const ATTRIBUTES: [&str; 6] = ["objectClass", "cn", "member", "uniqueMember", "memberUid", attribute::VERSION];
/// So many groups are asked for in one request.
const MOST_NAMES: usize = 100;

/// A person as groups know her.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    /// The name of her entry.
    pub dn: &'a str,
    /// Her login.
    pub username: &'a str,
}

impl<'a> Member<'a> {
    fn by(&self, login: bool) -> &'a str {
        if login { self.username } else { self.dn }
    }

    /// A filter for each way in which she may be in a group.
    fn filters(&self) -> String {
        MEMBERS.iter().map(|(attribute, login)| format!("({attribute}={})", ldap_escape(self.by(*login)))).collect()
    }

    /// Whether she is among the values of an attribute of members.
    fn is_in(&self, group: &Entry, attribute: &str, login: bool) -> bool {
        if login {
            return group.texts(attribute).any(|value| value == self.username);
        }
        let dn = dn::canonical(self.dn);
        group.texts(attribute).any(|value| dn.is_some() && canonical_member(value) == dn)
    }
}

/// A member's name, without the bits that `uniqueMember` may have after it.
fn canonical_member(value: &str) -> Option<String> {
    let bits = |(_, bits): &(&str, &str)| bits.strip_prefix('\'').is_some_and(|bits| bits.ends_with("'B"));
    dn::canonical(value.rsplit_once('#').filter(bits).map_or(value, |(dn, _)| dn))
}

/// How a group has its members.
#[derive(Clone, Copy)]
struct Kind {
    attribute: &'static str,
    by_login: bool,
    /// Whether it must not be empty.
    needs_one: bool,
}

impl Kind {
    /// Where a group is of two classes, the one that has members by DN counts.
    fn of(group: &Entry) -> Option<Self> {
        let kinds = [
            ("groupOfNames", Self { attribute: "member", by_login: false, needs_one: true }),
            ("groupOfUniqueNames", Self { attribute: "uniqueMember", by_login: false, needs_one: true }),
            ("groupOfMembers", Self { attribute: "member", by_login: false, needs_one: false }),
            ("posixGroup", Self { attribute: "memberUid", by_login: true, needs_one: false }),
        ];
        kinds.into_iter().find(|(class, _)| group.has("objectClass", class)).map(|(_, kind)| kind)
    }
}

/// Who is in which groups.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_dn: BTreeMap<String, BTreeSet<String>>,
    by_login: BTreeMap<String, BTreeSet<String>>,
    /// The version of each group by its DN.
    versions: BTreeMap<String, String>,
}

impl Members {
    /// The groups of somebody.
    pub fn of(&self, member: Member<'_>) -> BTreeSet<String> {
        let by_dn = dn::canonical(member.dn).and_then(|dn| self.by_dn.get(&dn));
        by_dn.into_iter().chain(self.by_login.get(member.username)).flatten().cloned().collect()
    }

    /// The version of each group by its DN, where the directory tells it.
    pub fn versions(&self) -> BTreeMap<String, String> {
        self.versions.clone()
    }

    fn take(&mut self, group: &Entry, names: &[String]) {
        self.versions.extend(group.text(attribute::VERSION).map(|version| (group.dn.clone(), version.to_owned())));
        for (attribute, by_login) in MEMBERS {
            for value in group.texts(attribute) {
                let groups = if by_login {
                    self.by_login.entry(value.to_owned()).or_default()
                } else {
                    let Some(dn) = canonical_member(value) else { continue };
                    self.by_dn.entry(dn).or_default()
                };
                groups.extend(names.iter().cloned());
            }
        }
    }
}

/// The groups below an entry.
#[derive(Debug)]
pub(super) struct Groups {
    /// Below which entry they are.
    pub base: String,
    /// Who is in a group that must not be empty, and is: nobody.
    pub placeholder: String,
}

impl Groups {
    fn search<'a>(&'a self, filter: &'a str, attributes: &'a [&'a str]) -> Search<'a> {
        Search { base: &self.base, scope: Scope::Subtree, filter, attributes }
    }

    /// The managed groups that somebody is in.
    pub async fn of(
        &self,
        line: &Line<'_>,
        operation: &str,
        member: Member<'_>,
        managed: &Managed,
    ) -> Result<BTreeSet<String>, ConnectorError> {
        let mut found = BTreeSet::new();
        for named in named(managed) {
            let filter = format!("(&{GROUP}{named}(|{}))", member.filters());
            for group in line.search(operation, &self.search(&filter, &["cn"])).await? {
                found.extend(names(&group, managed));
            }
        }
        Ok(found)
    }

    /// Who is in which of the managed groups.
    pub async fn all(&self, line: &Line<'_>, operation: &str, managed: &Managed) -> Result<Members, ConnectorError> {
        let mut members = Members::default();
        for named in named(managed) {
            for group in self.entries(line, operation, &named).await? {
                members.take(&group, &names(&group, managed));
            }
        }
        Ok(members)
    }

    /// Who is in which group, by the group's own name, and what each of them is called: below one entry two may be called the same.
    pub async fn each(&self, line: &Line<'_>, operation: &str) -> Result<(Members, BTreeMap<String, String>), ConnectorError> {
        let (mut members, mut called) = (Members::default(), BTreeMap::new());
        for group in self.entries(line, operation, "").await? {
            members.take(&group, std::slice::from_ref(&group.dn));
            called.extend(names(&group, &Managed::All).into_iter().map(|name| (group.dn.clone(), name)));
        }
        Ok((members, called))
    }

    /// All groups that a filter lets pass.
    async fn entries(&self, line: &Line<'_>, operation: &str, named: &str) -> Result<Vec<Entry>, ConnectorError> {
        let filter = format!("(&{GROUP}{named})");
        let search = self.search(&filter, &ATTRIBUTES);
        line.all(operation, &search).await
    }

    /// Puts somebody into a group. The placeholder leaves as she comes.
    pub async fn join(&self, line: &Line<'_>, operation: &str, member: Member<'_>, groups: &[Entry]) -> Result<(), ConnectorError> {
        let [group] = groups else {
            return Err(rejected(
                operation,
                match groups.len() {
                    0 => format!("there is no such group below {}; make it, or mend the Role that names it", self.base),
                    several => format!("there are {several} groups of that name below {}; rename all but one", self.base),
                },
            ));
        };
        let Some(kind) = Kind::of(group) else { return Err(rejected(operation, "that is no group that usher knows")) };
        let comes = || add(kind.attribute, member.by(kind.by_login));
        let nobody = Member { dn: &self.placeholder, username: "" };
        let mut result = if kind.needs_one && nobody.is_in(group, kind.attribute, false) {
            line.modify(operation, &group.dn, vec![comes(), delete(kind.attribute, &*self.placeholder)], None).await?
        } else {
            line.modify(operation, &group.dn, vec![comes()], None).await?
        };
        // The placeholder has left meanwhile.
        if kind.needs_one && result.rc == code::NO_SUCH_ATTRIBUTE {
            result = line.modify(operation, &group.dn, vec![comes()], None).await?;
        }
        done_or(operation, &result, &[code::VALUE_EXISTS])
    }

    /// Takes somebody out of a group. As the last one leaves, the placeholder comes.
    pub async fn leave(&self, line: &Line<'_>, operation: &str, member: Member<'_>, groups: &[Entry]) -> Result<(), ConnectorError> {
        for group in groups {
            let Some(kind) = Kind::of(group) else { continue };
            self.take_out(line, operation, group, kind.attribute, member.by(kind.by_login)).await?;
        }
        Ok(())
    }

    async fn take_out(&self, line: &Line<'_>, operation: &str, group: &Entry, attribute: &str, value: &str) -> Result<(), ConnectorError> {
        let gone = [code::NO_SUCH_ATTRIBUTE, code::NO_SUCH_OBJECT];
        let result = line.modify(operation, &group.dn, vec![delete(attribute, value)], None).await?;
        if result.rc != code::OBJECT_CLASS {
            return done_or(operation, &result, &gone);
        }
        let result = line.modify(operation, &group.dn, vec![add(attribute, &*self.placeholder), delete(attribute, value)], None).await?;
        done_or(operation, &result, &gone)
    }

    /// The groups of a name, to join or to leave; of their members no more than the placeholder need be told.
    pub async fn named(&self, line: &Line<'_>, operation: &str, name: &str) -> Result<Vec<Entry>, ConnectorError> {
        let filter = format!("(&{GROUP}{})", with_name(name));
        let placeholder = ldap_escape(&*self.placeholder);
        let values = format!("((objectClass=*)(member={placeholder})(uniqueMember={placeholder}))");
        line.search_values(operation, &self.search(&filter, &ATTRIBUTES), &values).await
    }

    /// The groups that name somebody in any way, managed or not.
    pub async fn with(&self, line: &Line<'_>, operation: &str, member: Member<'_>) -> Result<Vec<Entry>, ConnectorError> {
        let filters = member.filters();
        let filter = format!("(&{GROUP}(|{filters}))");
        line.search_values(operation, &self.search(&filter, &ATTRIBUTES), &format!("((objectClass=*){filters})")).await
    }

    /// Takes somebody out of all groups that name her.
    pub async fn forget(&self, line: &Line<'_>, operation: &str, member: Member<'_>, groups: &[Entry]) -> Result<(), ConnectorError> {
        for group in groups {
            for (attribute, by_login) in MEMBERS {
                if member.is_in(group, attribute, by_login) {
                    self.take_out(line, operation, group, attribute, member.by(by_login)).await?;
                }
            }
        }
        Ok(())
    }

    /// Lets groups name somebody by her new name.
    pub async fn rename(
        &self,
        line: &Line<'_>,
        operation: &str,
        old: Member<'_>,
        new: Member<'_>,
        groups: &[Entry],
    ) -> Result<(), ConnectorError> {
        for group in groups {
            for (attribute, by_login) in MEMBERS {
                if old.is_in(group, attribute, by_login) {
                    let edits: Vec<Edit> = vec![delete(attribute, old.by(by_login)), add(attribute, new.by(by_login))];
                    let result = line.modify(operation, &group.dn, edits, None).await?;
                    if result.rc == code::VALUE_EXISTS {
                        self.take_out(line, operation, group, attribute, old.by(by_login)).await?;
                        continue;
                    }
                    // Some directories do so themselves.
                    done_or(operation, &result, &[code::NO_SUCH_ATTRIBUTE, code::NO_SUCH_OBJECT])?;
                }
            }
        }
        Ok(())
    }
}

/// Filters for the managed groups; each is for one request.
fn named(managed: &Managed) -> Vec<String> {
    match managed {
        Managed::All => vec![String::new()],
        Managed::Only(names) => {
            let names: Vec<&String> = names.iter().collect();
            names.chunks(MOST_NAMES).map(|names| format!("(|{})", names.iter().map(|name| with_name(name)).collect::<String>())).collect()
        }
    }
}

fn with_name(name: &str) -> String {
    format!("(cn={})", ldap_escape(name))
}

/// What a group is called by Roles: names compare without regard to case.
fn names(group: &Entry, managed: &Managed) -> Vec<String> {
    match managed {
        Managed::Only(names) => {
            names.iter().filter(|name| group.texts("cn").any(|cn| cn.to_lowercase() == name.to_lowercase())).cloned().collect()
        }
        Managed::All => {
            let naming = dn::naming(&group.dn).filter(|(attribute, _)| attribute == "cn").map(|(_, name)| name);
            naming.or_else(|| group.text("cn").map(str::to_owned)).into_iter().collect()
        }
    }
}
