//! The chart's values, as they stand in ConfigMap `usher-settings`; flags and variables override them.

use std::collections::BTreeSet;
use std::time::Duration;

use data_encoding::BASE64;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{Api, Client, Config, ResourceExt};
use serde::Deserialize;

use crate::api::Span;
use crate::api::metadata::{SETTINGS_CONFIG_MAP, SETTINGS_KEY};
use crate::cluster::leader::Terms;
use crate::plan::settings::{Audit, Fence, Figures, Offboarding, Server, Settings};

use crate::telemetry::export::Target;

use super::Failure;

/// The content of `settings.yaml`; what is left out has its default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Values {
    cluster: ClusterValues,
    credentials: CredentialValues,
    fence: FenceValues,
    offboarding: OffboardingValues,
    leader_election: LeaderValues,
    audit: AuditValues,
    scim: ScimValues,
    page: PageValues,
    figures: FigureValues,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScimValues {
    enabled: bool,
    tls_secret: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PageValues {
    enabled: bool,
    tls_secret: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FigureValues {
    window: Option<String>,
    every: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuditValues {
    requester_stamp: Option<bool>,
    retention: Option<String>,
    revisions_per_role: Option<usize>,
    export: Option<ExportValue>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClusterValues {
    server: String,
    ca_data: String,
}

/// In YAML the word `off` without quotes is false.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum ExportValue {
    Switch(bool),
    Target(String),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CredentialValues {
    lifetime: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct FenceValues {
    may_bind: Option<BTreeSet<String>>,
    inline_rules: Option<bool>,
    cluster_scope: ScopeValues,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct OffboardingValues {
    foreign_bindings: Option<String>,
    brake: BrakeValues,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BrakeValues {
    max_removals: Option<usize>,
    max_percent: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScopeValues {
    verbs: Option<BTreeSet<String>>,
    secrets: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaderValues {
    lease_duration: Option<String>,
    renew_deadline: Option<String>,
    retry_period: Option<String>,
}

/// A length of time out of the settings.
fn span(value: Option<&str>, default: &str, field: &str) -> Result<jiff::SignedDuration, Failure> {
    let text = value.unwrap_or(default);
    let span: Span = text.parse().map_err(|error| format!("{field} in ConfigMap {SETTINGS_CONFIG_MAP}: {error}"))?;
    Ok(span.duration())
}

fn short(value: Option<&str>, default: &str, field: &str) -> Result<Duration, Failure> {
    Ok(Duration::try_from(span(value, default, field)?)?)
}

impl Values {
    /// Reads the values of the installation in this namespace; without a ConfigMap all are at their defaults.
    ///
    /// # Errors
    /// When the ConfigMap cannot be read or does not parse.
    pub async fn read(client: &Client, namespace: &str) -> Result<Self, Failure> {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        let map = api.get_opt(SETTINGS_CONFIG_MAP).await.map_err(|error| {
            format!("cannot read ConfigMap {namespace}/{SETTINGS_CONFIG_MAP}: {error}; is usher's chart installed in this namespace?")
        })?;
        let Some(text) = map.and_then(|map| map.data?.remove(SETTINGS_KEY)) else { return Ok(Self::default()) };
        serde_saphyr::from_str(&text)
            .map_err(|error| format!("{SETTINGS_KEY} in ConfigMap {namespace}/{SETTINGS_CONFIG_MAP} does not parse: {error}").into())
    }

    /// What this installation lacks because of the API server that it was made for, with the remedy.
    pub fn missing(&self) -> Option<&'static str> {
        (self.audit.requester_stamp == Some(false)).then_some(
            "this API server had no MutatingAdmissionPolicy v1 when the chart was installed, so nothing stamps who asked for what, and Grants and Departures say unknown: upgrade Kubernetes to 1.36 or newer, then the release (helm upgrade)",
        )
    }

    /// How long the Lease holds.
    ///
    /// # Errors
    /// When a length of time is malformed, or the times do not fit each other.
    pub fn terms(&self) -> Result<Terms, Failure> {
        let values = &self.leader_election;
        let terms = Terms {
            lease_duration: short(values.lease_duration.as_deref(), "10s", "leaderElection.leaseDuration")?,
            renew_deadline: short(values.renew_deadline.as_deref(), "7s", "leaderElection.renewDeadline")?,
            retry_period: short(values.retry_period.as_deref(), "2s", "leaderElection.retryPeriod")?,
        };
        if terms.retry_period < terms.renew_deadline && terms.renew_deadline < terms.lease_duration {
            return Ok(terms);
        }
        Err("leaderElection: retryPeriod must be shorter than renewDeadline, and that shorter than leaseDuration".into())
    }

    /// What the planner obeys.
    ///
    /// # Errors
    /// When a value is malformed, or `kube-system` cannot be read.
    pub async fn settings(&self, client: &Client, config: &Config, namespace: &str) -> Result<Settings, Failure> {
        let token_lifetime = span(self.credentials.lifetime.as_deref(), "30d", "credentials.lifetime")?;
        if token_lifetime < jiff::SignedDuration::from_mins(10) {
            return Err("credentials.lifetime must be at least 10m, the least that the API server issues".into());
        }
        let api: Api<Namespace> = Api::all(client.clone());
        let system = api.get_metadata("kube-system").await.map_err(|error| format!("cannot read namespace kube-system: {error}"))?;
        let default = Fence::default();
        Ok(Settings {
            namespace: namespace.to_owned(),
            installation: system.uid().unwrap_or_default(),
            server: self.server(config),
            token_lifetime,
            offboarding: self.offboarding()?,
            audit: self.audit()?,
            figures: self.figures()?,
            fence: Fence {
                may_bind: self.fence.may_bind.clone().unwrap_or(default.may_bind),
                inline_rules: self.fence.inline_rules.unwrap_or(default.inline_rules),
                cluster_scope_verbs: self.fence.cluster_scope.verbs.clone().unwrap_or(default.cluster_scope_verbs),
                cluster_scope_secrets: self.fence.cluster_scope.secrets.unwrap_or(default.cluster_scope_secrets),
            },
        })
    }

    /// The Secret with the certificate by which SCIM is served; nothing if it is not served.
    pub fn scim(&self) -> Option<String> {
        self.scim.enabled.then(|| self.scim.tls_secret.clone().unwrap_or_else(|| "usher-scim-tls".to_owned()))
    }

    /// The Secret with the certificate by which the web page is served; nothing if it is not served.
    pub fn page(&self) -> Option<String> {
        self.page.enabled.then(|| self.page.tls_secret.clone().unwrap_or_else(|| "usher-page-tls".to_owned()))
    }

    /// Where the record is exported to.
    ///
    /// # Errors
    /// When it is neither off, stdout nor an absolute path.
    pub fn export(&self) -> Result<Target, Failure> {
        match &self.audit.export {
            None | Some(ExportValue::Switch(false)) => Ok(Target::Off),
            Some(ExportValue::Target(text)) => match text.as_str() {
                "off" => Ok(Target::Off),
                "stdout" => Ok(Target::Stdout),
                path if path.starts_with('/') => Ok(Target::File(path.into())),
                other => Err(format!("audit.export is {other}; write off, stdout or an absolute path such as /export/grants.jsonl").into()),
            },
            Some(ExportValue::Switch(true)) => {
                Err("audit.export is true; write off, stdout or an absolute path such as /export/grants.jsonl".into())
            }
        }
    }

    fn figures(&self) -> Result<Figures, Failure> {
        let default = Figures::default();
        let text = self.figures.window.clone().unwrap_or_else(|| default.window.to_string());
        let window: Span = text.parse().map_err(|error| format!("figures.window in ConfigMap {SETTINGS_CONFIG_MAP}: {error}"))?;
        if window.duration() > jiff::SignedDuration::from_hours(24 * 90) {
            return Err("figures.window may be 90d at most: what was done by hand is remembered for little longer".into());
        }
        Ok(Figures { window, every: span(self.figures.every.as_deref(), "1m", "figures.every")? })
    }

    fn audit(&self) -> Result<Audit, Failure> {
        let default = Audit::default();
        let retention = span(self.audit.retention.as_deref(), "400d", "audit.retention")?;
        if retention < jiff::SignedDuration::from_secs(1) {
            return Err("audit.retention must be at least 1s; auditors usually want a year and a month, 400d".into());
        }
        let revisions_per_role = self.audit.revisions_per_role.unwrap_or(default.revisions_per_role);
        if revisions_per_role == 0 {
            return Err("audit.revisionsPerRole must be at least 1: what a Role contains now is always kept".into());
        }
        Ok(Audit { retention, revisions_per_role })
    }

    fn offboarding(&self) -> Result<Offboarding, Failure> {
        let (values, default) = (&self.offboarding, Offboarding::default());
        let remove_foreign = match values.foreign_bindings.as_deref() {
            None | Some("Remove") => true,
            Some("Report") => false,
            Some(other) => return Err(format!("offboarding.foreignBindings is {other}; write Remove or Report").into()),
        };
        Ok(Offboarding {
            remove_foreign,
            brake_people: values.brake.max_removals.unwrap_or(default.brake_people),
            brake_percent: values.brake.max_percent.unwrap_or(default.brake_percent),
        })
    }

    /// What people's kubeconfigs say: the values, else the way by which usher itself reaches the cluster.
    fn server(&self, config: &Config) -> Server {
        if !self.cluster.server.is_empty() {
            return Server { url: self.cluster.server.clone(), ca_data: self.cluster.ca_data.clone() };
        }
        reached_by(config)
    }
}

/// The way by which somebody reaches a cluster, for kubeconfigs.
pub(super) fn reached_by(config: &Config) -> Server {
    let pem = |der: &Vec<u8>| {
        let body = BASE64.encode(der);
        let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    let bundle: String = config.root_cert.iter().flatten().map(pem).collect();
    let ca_data = if bundle.is_empty() { String::new() } else { BASE64.encode(bundle.as_bytes()) };
    Server { url: config.cluster_url.to_string().trim_end_matches('/').to_owned(), ca_data }
}
