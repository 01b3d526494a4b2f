//! One of several replicas. They share a ServiceAccount, so each has a token of its own here: the audit log says by which token a request came.

use std::time::Duration;

use jiff::Timestamp;

use super::audit::{Audit, Event};
use super::install::{Install, credential};
use super::operator::Operator;
use super::{ControlPlane, wait_until};

/// One replica, and how the audit log knows it.
pub struct Replica {
    /// Its process.
    pub operator: Operator,
    /// How often it ended and was started again.
    pub ended: usize,
    credential: String,
}

impl Replica {
    /// Starts one that speaks to the API server itself.
    pub async fn start(plane: &ControlPlane, install: &Install, name: &str) -> Self {
        Self::start_via(plane, install, name, plane.variable("APISERVER_URL")).await
    }

    /// Starts one that takes another way to the API server, and waits until it is ready. By its name it comes back when it is started again, as a container in
    /// its Pod.
    pub async fn start_via(plane: &ControlPlane, install: &Install, name: &str, server: &str) -> Self {
        let kubeconfig = install.kubeconfig_for(plane, name, server).await;
        let credential = credential(&kubeconfig);
        let operator = Operator::start_by(install, kubeconfig, &["--identity", name]).await;
        operator.ready().await;
        Self { operator, ended: 0, credential }
    }

    /// Whether a request is one of its own.
    pub fn sent(&self, event: &Event) -> bool {
        event.credential == self.credential
    }

    /// What it wrote, without its Lease.
    pub fn writes(&self, audit: &Audit) -> Vec<Event> {
        audit.writes().into_iter().filter(|event| self.sent(event)).collect()
    }

    /// Its successful writes to the Lease.
    pub fn leases(&self, audit: &Audit) -> Vec<Event> {
        let own = |event: &Event| event.is_lease() && event.is_write() && event.code < 300 && self.sent(event);
        audit.operator().into_iter().filter(own).collect()
    }

    /// Waits until it holds the Lease, and says since when.
    pub async fn leads(&self, audit: &Audit, deadline: Duration) -> Timestamp {
        let first = wait_until("the other replica takes over", deadline, async || {
            self.leases(audit).into_iter().next().ok_or("it has not written the Lease")
        });
        first.await.at()
    }

    /// Starts it again if it ended, as Kubernetes does.
    pub async fn revive(&mut self) {
        if !self.operator.is_alive() {
            self.ended += 1;
            self.operator.restart().await;
        }
    }
}

/// Does `work` while replicas that end are started again.
pub async fn supervised<T>(replicas: &mut [&mut Replica], work: impl Future<Output = T>) -> T {
    let supervising = async {
        loop {
            for replica in replicas.iter_mut() {
                replica.revive().await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        done = work => done,
        never = supervising => never,
    }
}
