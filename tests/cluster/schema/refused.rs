//! Nonsense is refused with a message that names the field and the remedy.

use futures::{StreamExt, stream};
use kube::api::{DynamicObject, PostParams};
use kube::{Client, ResourceExt};

use super::case::{Case, table};
use crate::support::client::{api_for, apply_as, delete, dry_run, explain};
use crate::support::{bare, name};

#[tokio::test]
async fn nonsense_is_refused_with_the_field_and_the_remedy() {
    let client = bare().await.admin_client().await;
    let cases = table(include_str!("refused.yaml"));
    assert!(cases.len() > 100, "the table is read: {}", cases.len());
    let judged = stream::iter(&cases).map(async |case| judge(&client, case).await.err());
    let failures: Vec<_> = judged.buffered(8).filter_map(std::future::ready).collect().await;
    assert!(failures.is_empty(), "{} of {} rows:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// Says what is wrong with the API server's judgement of a row.
async fn judge(client: &Client, case: &Case) -> Result<(), String> {
    let name = case.name.clone().unwrap_or_else(|| name("nonsense"));
    let object = case.object(&name, &case.spec);
    let answer = match &case.was {
        None => dry_run(client, &object).await,
        Some(was) => change(client, case.object(&name, was), object).await,
    };
    let message = match answer {
        Ok(_) => return Err(format!("- {}: accepted", case.what)),
        Err(error) => explain(&error),
    };
    let missing: Vec<_> = case.says.iter().filter(|piece| !message.contains(piece.as_str())).collect();
    if !missing.is_empty() || case.says.len() < 2 {
        return Err(format!("- {}: says nothing of {missing:?} in: {message}", case.what));
    }
    follow_proposal(client, case, &message).await
}

/// A name that the message proposes must be accepted itself.
async fn follow_proposal(client: &Client, case: &Case, message: &str) -> Result<(), String> {
    let Some((_, rest)) = message.split_once("use for example \"") else { return Ok(()) };
    let proposal = rest.split('"').next().unwrap_or_default();
    if case.name.is_none() {
        return Ok(());
    }
    match dry_run(client, &case.object(proposal, &case.spec)).await {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("- {}: proposes {proposal:?}, which is refused: {}", case.what, explain(&error))),
    }
}

/// Makes the old object, and asks whether it may become the new one.
async fn change(client: &Client, old: DynamicObject, mut new: DynamicObject) -> Result<DynamicObject, kube::Error> {
    let stored = apply_as(client, "test", old).await?;
    new.metadata.resource_version = stored.resource_version();
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let answer = api_for(client, &new).await?.replace(&new.name_any(), &parameters, &new).await;
    delete(client, &stored).await;
    answer
}

/// The API server alone only warns of them, so that kubectl asks it to be strict.
#[tokio::test]
async fn kubectl_refuses_unknown_fields() {
    let plane = bare().await;
    for (kind, spec, field) in [
        ("Developer", "{email: ada@example.com, emial: x}", "spec.emial"),
        ("Role", "{access: [{name: work, environments: [dev], clusterRoles: [view], clusterRole: view}]}", "spec.access[0].clusterRole"),
        ("Binding", "{role: viewer, developers: [ada], expireAt: \"2026-01-01T00:00:00Z\"}", "spec.expireAt"),
        ("Environment", "{workspace: {quotas: {pods: \"1\"}}}", "spec.workspace.quotas"),
    ] {
        let object = format!("{{apiVersion: usher.dev/v1alpha1, kind: {kind}, metadata: {{name: {}}}, spec: {spec}}}", name("strict"));
        let output = plane.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &object).await;
        assert!(!output.success, "{kind}: {}", output.stdout);
        assert!(output.stderr.contains(&format!("unknown field \"{field}\"")), "{kind}: {}", output.stderr);
    }
}
