//! Where each part begins: a control plane of its own, the chart, and the operator.

use kube::Client;

use crate::people;
use crate::support::install::Install;
use crate::support::operator::Operator;
use crate::support::{AuditLevel, ControlPlane};

/// The chart's values in every part: it declares its own Environments and Roles.
const BARE: [&str; 2] = ["environments.default=false", "starterRoles=false"];

/// A control plane with the chart.
pub async fn installed(audit: AuditLevel, values: &[&str]) -> (ControlPlane, Install) {
    let plane = ControlPlane::start(audit).await;
    let install = Install::new(&plane, &[&BARE, values].concat()).await;
    (plane, install)
}

/// The same, with an operator that is ready, and nobody declared.
pub struct Opened {
    // Dropped first, as its log goes with the control plane.
    pub operator: Operator,
    pub plane: ControlPlane,
    pub install: Install,
    pub admin: Client,
}

impl Opened {
    /// Opens it, with more values of the chart.
    pub async fn with(audit: AuditLevel, values: &[&str]) -> Self {
        let (plane, install) = installed(audit, values).await;
        let operator = Operator::start(&install).await;
        operator.ready().await;
        let admin = plane.admin_client().await;
        Self { operator, plane, install, admin }
    }

    /// The same, with what people share.
    pub async fn shared(audit: AuditLevel, values: &[&str]) -> Self {
        let opened = Self::with(audit, values).await;
        people::prepare(&opened.admin).await;
        people::taken_in(&opened.admin).await;
        opened
    }
}
