//! The CustomResourceDefinitions, as they are written to `crds/` and into the chart.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps, ValidationRule};
use kube::CustomResourceExt;

use super::{Binding, Departure, Developer, Environment, Grant, Lock, Provider, Role, Scorecard, Source};

/// The plural names of usher's kinds, as in `<plural>.usher.dev`.
pub const KINDS: [&str; 10] =
    ["bindings", "departures", "developers", "environments", "grants", "locks", "providers", "roles", "scorecards", "sources"];

/// Those of them that decide who has what: objects of the others come and go without a meaning for access.
pub const DECIDING: [&str; 4] = ["bindings", "developers", "environments", "roles"];

/// Every CustomResourceDefinition of usher, in the order of their names.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        finish(Binding::crd(), Some(("Binding", 63))),
        finish(Departure::crd(), None),
        finish(Developer::crd(), Some(("Developer", 38))),
        finish(Environment::crd(), Some(("Environment", 24))),
        finish(Grant::crd(), None),
        finish(Lock::crd(), Some(("Lock", 63))),
        finish(Provider::crd(), Some(("Provider", 40))),
        finish(Role::crd(), Some(("Role", 40))),
        finish(Scorecard::crd(), None),
        finish(Source::crd(), Some(("Source", 40))),
    ]
}

/// Adds what the derive macro cannot say: rules on `metadata.name`, and no null where a field may be left out.
fn finish(mut crd: CustomResourceDefinition, name: Option<(&str, u32)>) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) else { continue };
        refuse_null(root);
        if let Some((kind, longest)) = name {
            root.x_kubernetes_validations.get_or_insert_default().extend(name_rules(kind, longest));
        }
    }
    crd
}

fn name_rules(kind: &str, longest: u32) -> [ValidationRule; 2] {
    let proposal = format!(
        "self.metadata.name.replace('.', '-').substring(0, size(self.metadata.name) < {longest} ? size(self.metadata.name) : {longest}).find('^[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
    );
    let rule = |rule: String, problem: String| ValidationRule {
        rule,
        message_expression: Some(format!(
            "'metadata.name: {problem}: namespaces, labels and names are made from it; use for example \"' + {proposal} + '\"'"
        )),
        ..ValidationRule::default()
    };
    [
        rule("!self.metadata.name.contains('.')".to_owned(), format!("the name of a {kind} may not contain dots")),
        rule(format!("size(self.metadata.name) <= {longest}"), format!("the name of a {kind} may have at most {longest} characters")),
    ]
}

/// A field that is left out is not managed, and `[]` means none; null would be neither.
fn refuse_null(schema: &mut JSONSchemaProps) {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaPropsOrArray, JSONSchemaPropsOrBool};
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        refuse_null(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = schema.items.as_mut() {
        refuse_null(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = schema.additional_properties.as_mut() {
        refuse_null(values);
    }
}
