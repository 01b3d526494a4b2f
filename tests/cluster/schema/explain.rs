//! `kubectl explain` has something to say about every field of every kind.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray};
use kube::ResourceExt;

use crate::support::{bare, wait_until};

#[test]
fn every_field_of_every_kind_is_described() {
    let mut bare_fields = Vec::new();
    let mut count = 0;
    for crd in usher::api::crds() {
        for version in &crd.spec.versions {
            let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).expect("a schema");
            assert!(schema.description.as_ref().is_some_and(|text| text.len() > 40), "{} has no description", crd.name_any());
            walk(schema, &crd.spec.names.kind, &mut |path, field| {
                count += 1;
                if field.description.as_ref().is_none_or(|text| text.trim().is_empty()) {
                    bare_fields.push(path.to_owned());
                }
            });
        }
    }
    assert!(count > 150, "the walk finds the fields: {count}");
    assert!(bare_fields.is_empty(), "without description: {bare_fields:?}");
}

fn walk(schema: &JSONSchemaProps, path: &str, visit: &mut impl FnMut(&str, &JSONSchemaProps)) {
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, field);
        walk(field, &path, visit);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        walk(items, path, visit);
    }
}

/// By short names, because `role` and `binding` mean other things to kubectl.
#[tokio::test]
async fn kubectl_explains_by_short_name() {
    let plane = bare().await;
    for (path, wanted) in [
        ("dev", "KIND:       Developer"),
        ("dev.spec.teams", "A Binding to one of them is a Binding to her"),
        ("dev.spec.state", "Suspended (everything is taken away and comes back with Active)"),
        ("urole.spec.access.environments", "An Environment that is added later is never included by silence"),
        ("ubind.spec.expiresAt", "From this time on the Binding gives nothing"),
        ("uenv.spec.workspace.onDeparture.deleteAfter", "How long the workspace stays before it is deleted"),
        ("grant.spec.grantedBy", "Who last wrote the Binding that gave it"),
    ] {
        // kubectl reads the published OpenAPI, which is a little later than the kinds themselves, and wraps lines.
        wait_until(&format!("kubectl explain {path}"), Duration::from_mins(1), async || {
            let output = plane.kubectl(&["explain", path]).await;
            let text = output.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
            let wanted = wanted.split_whitespace().collect::<Vec<_>>().join(" ");
            if text.contains(&wanted) { Ok(()) } else { Err(format!("{}{}", output.stdout, output.stderr)) }
        })
        .await;
    }
}
