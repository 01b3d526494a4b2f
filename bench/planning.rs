//! What it costs to plan: for a Role with many holders in 20 namespaces, when nothing is to be done, when one person comes, and when one leaves. No server takes part.

use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use usher::api::{Binding, Developer, Environment, Role};
use usher::cluster::memory::{Kept, Memory};
use usher::plan::change::{Change, Step, Write};
use usher::plan::cluster::ClusterKey;
use usher::plan::role::{Failed, RoleInputs, RolePlan, plan_role};
use usher::plan::settings::Settings;

use crate::leaving::percentile;
use crate::table::Row;

const NAMESPACES: usize = 20;
const ROLE: &str = "a";
/// How often each is timed.
const TIMES: usize = 20;

/// Measures plans for so many holders.
pub fn measure(people: usize) -> Vec<Row> {
    let mut crowd = Crowd::of(people);
    crowd.settle();
    let mut rows = vec![Row::note(format!("A plan for {people} holders that leads to nothing, ms"), crowd.time())];
    crowd.person(people, "Active");
    rows.push(Row::note("the same when one comes, ms", crowd.time()));
    crowd.settle();
    crowd.person(0, "Departed");
    rows.push(Row::note("the same when one leaves, ms", crowd.time()));
    let (since, writes) = (Instant::now(), crowd.settle());
    rows.push(Row::note(
        format!("taking in the answers to its {writes} writes, planning included, ms"),
        since.elapsed().as_secs_f64() * 1_000.0,
    ));
    rows
}

/// A Role, its holders and 20 namespaces, in memory.
struct Crowd {
    memory: Memory,
    version: u64,
}

impl Crowd {
    fn of(people: usize) -> Self {
        let settings = Settings::of("usher-system", "here");
        let mut crowd = Self { memory: Memory::new(settings, [ClusterKey::Home]), version: 0 };
        crowd.memory.set_locks_readable(Some(true), Some(false));
        crowd.put::<ClusterRole>(json!({"metadata": {"name": "view"}, "rules": null}));
        for number in 0..NAMESPACES {
            crowd.put::<Namespace>(json!({"metadata": {"name": format!("n{number:02}"), "labels": {"env": "dev"}}}));
        }
        crowd.declare::<Environment>("dev", json!({"namespaces": {"matchLabels": {"env": "dev"}}}));
        crowd.declare::<Role>(ROLE, json!({"access": [{"name": "work", "environments": ["dev"], "clusterRoles": ["view"]}]}));
        crowd.declare::<Binding>(ROLE, json!({"role": ROLE, "teams": ["all"]}));
        (0..people).for_each(|number| crowd.person(number, "Active"));
        crowd
    }

    fn person(&mut self, number: usize, state: &str) {
        let name = format!("p{number:05}");
        self.declare::<Developer>(&name, json!({"email": format!("{name}@example.com"), "teams": ["all"], "state": state}));
    }

    fn declare<K: Kept + Resource<DynamicType = ()> + DeserializeOwned>(&mut self, name: &str, spec: Value) {
        let kind = K::kind(&()).into_owned();
        self.put::<K>(json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}));
    }

    fn put<K: Kept + DeserializeOwned>(&mut self, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let uid = format!("{}-{}", object["kind"], object["metadata"]["name"]);
        object["metadata"]["uid"] = json!(uid);
        self.memory.put::<K>(&ClusterKey::Home, serde_json::from_value(object).expect("an object"));
    }

    fn plan(&self) -> RolePlan {
        let failed = Failed::none(true);
        self.memory.read(|content, scene| {
            let role = content.world.role(ROLE).expect("it is declared");
            let (now, epoch) = (Timestamp::now(), "e");
            plan_role(&RoleInputs { scene, role, now, epoch, may_end: true, patient: true, failed: &failed })
        })
    }

    /// The median time of a plan, in milliseconds.
    fn time(&self) -> f64 {
        let times: Vec<f64> = (0..TIMES)
            .map(|_| {
                let since = Instant::now();
                std::hint::black_box(self.plan());
                since.elapsed().as_secs_f64() * 1_000.0
            })
            .collect();
        percentile(&times, 0.5)
    }

    /// Takes in the answers to what is planned, until nothing is. Returns how many writes that were.
    fn settle(&mut self) -> usize {
        let mut writes = 0;
        loop {
            let steps: Vec<Step> = self.plan().phases.into_iter().flatten().collect();
            if steps.is_empty() {
                return writes;
            }
            writes += steps.len();
            steps.into_iter().for_each(|step| self.answer(step.change));
        }
    }

    fn answer(&mut self, change: Change) {
        let Change::RoleBinding(Write::Create(mut object) | Write::Replace(mut object)) = change else { panic!("{change:?}") };
        self.version += 1;
        object.metadata.resource_version = Some(self.version.to_string());
        object.metadata.uid = Some(format!("{:?}-{}", object.namespace(), object.name_any()));
        self.memory.put_answer::<RoleBinding>(&ClusterKey::Home, object);
    }
}
