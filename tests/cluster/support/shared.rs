//! Control planes that many tests use at once, and turns for those that need one alone.

use std::sync::OnceLock;

use kube::Client;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::client;
use super::control_plane::{AuditLevel, ControlPlane, off_thread};
use super::install::{Install, PATIENT};
use super::operator::{LogOnFailure, Operator};
use super::scim::certify;

/// On two cores more control planes than this are in each other's way.
static TURNS: Semaphore = Semaphore::const_new(4);

/// A turn to have a control plane for oneself.
pub(super) async fn turn() -> SemaphorePermit<'static> {
    TURNS.acquire().await.expect("never closed")
}

/// The control plane with usher's CRDs and without an operator, one for the whole process.
pub async fn bare() -> &'static ControlPlane {
    // A failure is kept: the next test need not wait for it again.
    static PLANE: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    static KINDS: OnceCell<()> = OnceCell::const_new();
    let plane = off_thread(|| PLANE.get_or_init(|| ControlPlane::start_blocking(None, AuditLevel::Metadata, &[]))).await;
    let plane = plane.as_ref().unwrap_or_else(|problem| panic!("{problem}"));
    KINDS.get_or_init(async || client::install_crds(&plane.admin_client().await).await).await;
    plane
}

/// A control plane where the chart is installed and one operator runs, for tests that get along with each other.
#[allow(dead_code, reason = "used as soon as `usher run` works")]
pub struct Operated {
    /// The control plane.
    pub plane: ControlPlane,
    /// The release in it.
    pub install: Install,
    /// The operator's process.
    pub operator: Operator,
    /// The CA of the certificate with which it serves SCIM and the web page.
    pub scim_ca: String,
}

/// What a test has of the shared operator: when the test fails, the log is printed.
#[allow(dead_code, reason = "used as soon as `usher run` works")]
pub struct Shared {
    /// The control plane, the release and the operator.
    pub all: &'static Operated,
    /// The administrator's client on the test's runtime.
    pub client: Client,
    _log: LogOnFailure,
}

/// Whose word on who asked is taken in [`operated`].
pub const APPLIER: &str = "system:serviceaccount:flux-system:kustomize-controller";
/// The prefix of the users in [`operated`] whose tokens are guarded.
pub const GUARDED: &str = "oidc:";

/// The control plane with the chart and an operator, one for the whole process. Whoever restarts the operator, or changes what others see, takes
/// [`ControlPlane::exclusive`] instead.
#[allow(dead_code, reason = "used as soon as `usher run` works")]
pub async fn operated() -> Shared {
    static OPERATED: OnceCell<Operated> = OnceCell::const_new();
    let all = OPERATED
        .get_or_init(async || {
            let etcd = bare().await;
            let start = off_thread(|| ControlPlane::start_blocking(Some(etcd.dir()), AuditLevel::Metadata, &[])).await;
            let plane = start.unwrap_or_else(|problem| panic!("{problem}"));
            let (applier, guarded) = (format!("audit.trustedAppliers={{{APPLIER}}}"), format!("guard.userPrefixes={{{GUARDED}}}"));
            // Many tests let people leave, which is no accident here.
            let unbraked = "offboarding.brake.maxRemovals=10000";
            let values = [
                PATIENT[0],
                PATIENT[1],
                &applier,
                &guarded,
                unbraked,
                "scim.enabled=true",
                "page.enabled=true",
                "page.tlsSecret=usher-scim-tls",
            ];
            let install = Install::new(&plane, &values).await;
            let scim_ca = certify(&plane.admin_client().await).await;
            let operator = Operator::start(&install).await;
            operator.ready().await;
            Operated { plane, install, operator, scim_ca }
        })
        .await;
    Shared { all, client: all.plane.admin_client().await, _log: all.operator.log_on_failure() }
}
