//! How the model carries out Locks and Departures, as their controllers do: seals, what is left of people who are gone, and what is put back.

use usher::plan::access::{Standing, lock_holds};
use usher::plan::departing::{begin, departing};
use usher::plan::departures::lasts;
use usher::plan::developer::DeveloperPlan;
use usher::plan::locking::{LockFound, lock_status, locking};
use usher::plan::receipt::{Found, FoundIn, receipt};
use usher::plan::seal::{unseal, workspaces};

use kube::ResourceExt;
use usher::api::departure::Sealed;

use crate::cluster_model::Model;

impl Model {
    /// Begins the receipt of somebody who left. Tells whether that was necessary.
    pub(crate) fn begin_receipt(&mut self, name: &str, plan: &DeveloperPlan) -> bool {
        let developer = self.world.developer(name).expect("she exists").clone();
        if !plan.standing.departs() || self.world.departures().current(&developer).is_some() {
            return false;
        }
        let departure = self.read(|scene| begin(scene, &developer, self.now));
        self.set_departure(&departure.name_any(), Some(departure.clone()));
        true
    }

    /// One pass over every Departure and every Lock. Tells whether something was written.
    pub(crate) fn leaving_passes(&mut self, look: &mut dyn FnMut(&Self)) -> bool {
        let lasting: Vec<String> = self.world.departures().all().filter(|(_, it)| lasts(it)).map(|(name, _)| name.clone()).collect();
        let locks: Vec<String> = self.world.locks().map(|(name, _)| name.clone()).collect();
        let mut wrote = false;
        for name in lasting {
            wrote |= self.departure_pass(&name, look);
        }
        for name in locks {
            wrote |= self.lock_pass(&name, look);
        }
        wrote
    }

    fn departure_pass(&mut self, name: &str, look: &mut dyn FnMut(&Self)) -> bool {
        let departure = self.world.departures().get(name).expect("it is there").as_ref().clone();
        let view = self.read(|scene| departing(scene, &departure, self.now));
        let mut written = departure.clone();
        let mut steps = match view.standing {
            Some(Standing::Active) => {
                let kept = departure.status.as_ref().map(|status| status.sealed.clone()).unwrap_or_default();
                written.status.get_or_insert_default().returned_at = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now));
                self.put_back(&departure.spec.developer.name, &kept)
            }
            Some(Standing::Pending | Standing::Suspended | Standing::Locked) => return false,
            Some(Standing::Departed | Standing::Deleted) | None => {
                let gone = !view.named;
                let here = FoundIn {
                    access_gone: gone,
                    credentials_revoked: gone && !view.accounts,
                    leftovers: (gone && !view.accounts).then(Vec::new),
                    ..FoundIn::default()
                };
                let found = Found {
                    identities: view.identities.clone(),
                    workspaces: view.workspaces.clone(),
                    clusters: view.clusters.iter().map(|cluster| (cluster.clone(), here.clone())).collect(),
                    places: view.places.clone(),
                    sealed: view.seal.record.clone(),
                    brake: view.brake.clone(),
                    ..Found::default()
                };
                written.status = Some(receipt(&departure, found, self.now));
                [view.seal.steps, view.access_debts, view.debts, view.foreign].concat()
            }
        };
        let news = written.status != departure.status;
        // Each cluster has a pass of its own, while it answers.
        steps.retain(|step| self.read(|scene| scene.answers(&step.cluster)));
        self.set_departure(name, Some(written));
        self.carry_out_all(&[steps], look) | news
    }

    fn lock_pass(&mut self, name: &str, look: &mut dyn FnMut(&Self)) -> bool {
        let lock = self.world.lock(name).expect("it is there").as_ref().clone();
        let view = self.read(|scene| locking(scene, &lock, self.now));
        let holds = lock_holds(&lock, self.now);
        let steps = if holds { view.seal.steps.clone() } else { Vec::new() };
        let found = LockFound {
            access_gone: !view.named,
            lifted: !holds,
            credentials_revoked: !view.accounts,
            sealed: if holds { view.seal.record.clone() } else { Vec::new() },
            ..LockFound::default()
        };
        let mut written = lock.clone();
        written.status = Some(lock_status(&lock, &found, self.now));
        let news = written.status != lock.status;
        self.set_lock(name, Some(written));
        self.carry_out_all(&[steps], look) | news
    }

    fn put_back(&self, developer: &str, kept: &[Sealed]) -> Vec<usher::plan::change::Step> {
        let uid = self.world.developer(developer).and_then(|it| it.uid()).unwrap_or_default();
        self.read(|scene| unseal(scene, &workspaces(scene, developer, &uid), kept))
    }
}
