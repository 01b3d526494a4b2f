//! A resource as it is kept: one ConfigMap in usher's own namespace for each, so that any replica may write it and none of them keeps anything to itself.
//!
//! The API server settles what two replicas must not both do. A User's object is named by her userName, so that nobody else of the Source gets it. Whoever is called
//! otherwise moves to another object, which counts as long as the old one is as it was left. Whoever is deleted is noted under a name of its own before her object
//! goes, and that note stays until her access is gone.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_DNSCURVE;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::metadata::{INSTALLATION, MANAGED_BY, MANAGER, SCIM, SCIM_EXTERNAL, SCIM_ID, SOURCE};

use super::super::name::fingerprint;
use super::error::ScimError;
use super::{Attributes, ResourceKind};

/// The beginning of the names of all records; the fence knows it, too.
pub const PREFIX: &str = "usher-scim-";
/// The keys of the ConfigMap.
const RESOURCE: &str = "resource";
const RECORD: &str = "record";
const MEMBERS: &str = "members";
/// No record is larger, nor has a Group more members: an object of Kubernetes has 100 KiB at most here.
const LARGEST: usize = 64 * 1024;
/// The most members of a Group.
pub const MOST_MEMBERS: usize = 5_000;
/// How many bytes an id has.
const ID: usize = 10;

/// What a resource is known by, for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; ID]);

impl Id {
    /// An id of bytes that are left to chance.
    pub const fn new(bytes: [u8; ID]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_DNSCURVE.encode(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = BASE32_DNSCURVE.decode(text.as_bytes()).map_err(drop)?;
        bytes.try_into().map(Self).map_err(drop)
    }
}

/// What is known of a resource besides what was pushed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stamp {
    /// When it was made.
    pub created: String,
    /// When it was changed last.
    pub modified: String,
    /// How often it was changed.
    pub revision: u64,
    /// The object that it had before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Moved>,
    /// When it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
}

/// An object that a resource had before, as it was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Its name.
    pub from: String,
    /// How often the resource had been changed.
    pub revision: u64,
}

/// A resource as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its type.
    pub kind: ResourceKind,
    /// The Source that it was pushed for.
    pub source: String,
    /// What it is known by.
    pub id: Id,
    /// What was pushed, but for members, as JSON: all of it is kept in memory, and most of it is hardly ever read.
    pub text: String,
    /// Who is in a Group.
    pub members: Vec<Id>,
    /// What is known of it besides.
    pub stamp: Stamp,
    /// The object: its name, its UID and its version.
    pub meta: ObjectMeta,
}

/// The name of the object of a User.
pub fn name_of_user(source: &str, user_name: &str) -> String {
    let digest = fingerprint(format!("{source}\n{}", user_name.to_lowercase()).as_bytes());
    format!("{PREFIX}user-{}", digest.get(..32).unwrap_or_default())
}

/// What stands for an externalId in a label.
pub fn external(value: &str) -> String {
    fingerprint(value.as_bytes()).get(..32).unwrap_or_default().to_owned()
}

impl Record {
    /// A resource that nobody has kept yet.
    pub fn new((kind, source, id): (ResourceKind, &str, Id), attributes: &Attributes, members: Vec<Id>, now: &str) -> Self {
        let stamp = Stamp { created: now.to_owned(), modified: now.to_owned(), ..Stamp::default() };
        let record = Self { kind, source: source.to_owned(), id, text: String::new(), members, stamp, meta: ObjectMeta::default() };
        record.saying(attributes)
    }

    /// The same, with other content, under the name that this content has.
    fn saying(mut self, attributes: &Attributes) -> Self {
        self.text = Value::Object(attributes.clone()).to_string();
        let name = match self.kind {
            ResourceKind::User => name_of_user(&self.source, text(attributes, "userName")),
            ResourceKind::Group => format!("{PREFIX}group-{}", self.id),
        };
        if self.meta.name.as_ref() != Some(&name) {
            self.meta = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
        }
        self
    }

    /// With other content, as of now. Whoever is called otherwise has another object from then on.
    #[must_use]
    pub fn changed(&self, attributes: &Attributes, members: Vec<Id>, now: &str) -> Self {
        let mut changed = Self { members, ..self.clone() }.saying(attributes);
        changed.stamp.modified = now.to_owned();
        changed.stamp.revision += 1;
        changed.stamp.moved =
            (changed.name() != self.name()).then(|| Moved { from: self.name().to_owned(), revision: self.stamp.revision });
        changed
    }

    /// The note that it was deleted.
    #[must_use]
    pub fn deleted(&self, now: &str) -> Self {
        let meta = ObjectMeta { name: Some(format!("{PREFIX}gone-{}", self.id)), ..ObjectMeta::default() };
        let stamp = Stamp { deleted: Some(now.to_owned()), modified: now.to_owned(), moved: None, ..self.stamp.clone() };
        Self { meta, stamp, members: Vec::new(), ..self.clone() }
    }

    /// Whether that it is so may take something from somebody: that she left or is not active, or who is in a Group.
    pub fn may_take(&self) -> bool {
        self.kind == ResourceKind::Group || self.stamp.deleted.is_some() || self.text.contains("\"active\":false")
    }

    /// The name of its object.
    pub fn name(&self) -> &str {
        self.meta.name.as_deref().unwrap_or_default()
    }

    /// What was pushed, but for members.
    pub fn attributes(&self) -> Attributes {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Its ETag.
    pub fn version(&self) -> String {
        format!("W/\"{}\"", self.meta.resource_version.as_deref().unwrap_or_default())
    }

    /// The object that is written.
    pub fn object(&self, namespace: &str, installation: &str) -> Result<ConfigMap, ScimError> {
        let stamp = serde_json::to_string(&self.stamp).unwrap_or_default();
        if self.text.len() > LARGEST {
            return Err(ScimError::too_large(format!(
                "the {} has {} bytes; {LARGEST} are the most that is kept",
                self.kind,
                self.text.len()
            )));
        }
        if self.members.len() > MOST_MEMBERS {
            let detail = format!("the Group has {} members; {MOST_MEMBERS} are the most, so divide it", self.members.len());
            return Err(ScimError::too_large(detail));
        }
        let mut labels = BTreeMap::from([
            (MANAGED_BY.to_owned(), MANAGER.to_owned()),
            (INSTALLATION.to_owned(), installation.to_owned()),
            (SOURCE.to_owned(), self.source.clone()),
            (SCIM.to_owned(), self.kind.to_string()),
            (SCIM_ID.to_owned(), self.id.to_string()),
        ]);
        let attributes = self.attributes();
        if let Some(id) = attributes.get("externalId").and_then(Value::as_str) {
            labels.insert(SCIM_EXTERNAL.to_owned(), external(id));
        }
        let members: Vec<u8> = self.members.iter().flat_map(|member| member.0).collect();
        Ok(ConfigMap {
            metadata: ObjectMeta {
                name: self.meta.name.clone(),
                namespace: Some(namespace.to_owned()),
                resource_version: self.meta.resource_version.clone(),
                uid: self.meta.uid.clone(),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(RESOURCE.to_owned(), self.text.clone()), (RECORD.to_owned(), stamp)])),
            binary_data: (!members.is_empty()).then(|| BTreeMap::from([(MEMBERS.to_owned(), ByteString(members))])),
            ..ConfigMap::default()
        })
    }

    /// Reads an object; nothing if it is none that keeps a resource.
    pub fn read(object: ConfigMap) -> Option<Self> {
        let label = |name: &str| object.metadata.labels.as_ref()?.get(name).cloned();
        let (kind, source, id) = (ResourceKind::of(&label(SCIM)?)?, label(SOURCE)?, label(SCIM_ID)?.parse().ok()?);
        let mut data = object.data?;
        let stamp = serde_json::from_str(data.get(RECORD)?).ok()?;
        let members = object.binary_data.and_then(|mut data| data.remove(MEMBERS)).unwrap_or_default();
        let members = members.0.chunks_exact(ID).filter_map(|bytes| bytes.try_into().ok().map(Id)).collect();
        let meta = ObjectMeta {
            name: object.metadata.name,
            namespace: object.metadata.namespace,
            uid: object.metadata.uid,
            resource_version: object.metadata.resource_version,
            ..ObjectMeta::default()
        };
        let text = data.remove(RESOURCE)?;
        name_fits(meta.name.as_deref()?).then_some(Self { kind, source, id, text, members, stamp, meta })
    }
}

fn name_fits(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The text of an attribute; empty if there is none.
pub fn text<'a>(attributes: &'a Attributes, name: &str) -> &'a str {
    attributes.get(name).and_then(Value::as_str).unwrap_or_default()
}
