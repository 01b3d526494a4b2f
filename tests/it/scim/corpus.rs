//! What senders are documented to send, on the pure functions.

use serde_json::{Value, json};
use usher::plan::scim::error::{ScimError, ScimType};
use usher::plan::scim::filter::Filter;
use usher::plan::scim::matching::fits;
use usher::plan::scim::patch::patch;
use usher::plan::scim::path::Scope;
use usher::plan::scim::resource::take_in;
use usher::plan::scim::{Attributes, ResourceKind};

use crate::scim_corpus::{Case, cases, missing};

const NAMES: [(&str, &str); 3] = [("ada", "aaaaaaaaaaaaaaa1"), ("bob", "bbbbbbbbbbbbbbb1"), ("id", "ddddddddddddddd1")];

/// What is there before.
fn given(kind: ResourceKind, case: &Case) -> Attributes {
    let given = case.given.as_ref().map(|given| take_in(kind, given).unwrap_or_else(|error| panic!("{}: {error:?}", case.name)));
    given.unwrap_or_default()
}

/// What is there afterwards, or how many are found.
fn outcome(kind: ResourceKind, case: &Case) -> Result<(Attributes, usize), ScimError> {
    let (before, body) = (given(kind, case), case.request.body.clone().unwrap_or_default());
    match case.request.method.as_str() {
        "POST" | "PUT" => Ok((take_in(kind, &body)?, 0)),
        "PATCH" => Ok((patch(kind, &before, &body)?, 0)),
        "GET" => {
            let filter = case.request.filter.as_deref().map(|text| Filter::read(Scope::Resource(kind), text)).transpose()?;
            let found = filter.is_none_or(|filter| fits(&filter, &before));
            Ok((before, usize::from(found)))
        }
        _ => Ok((before, 0)),
    }
}

/// Members are known by their ids alone.
fn plain(attributes: &Attributes) -> Value {
    let mut attributes = attributes.clone();
    if let Some(Value::Array(members)) = attributes.get_mut("members") {
        members.iter_mut().for_each(|member| *member = json!({"value": member["value"]}));
    }
    Value::Object(attributes)
}

#[test]
fn every_documented_request_does_what_its_sender_means() {
    let cases = cases(&NAMES);
    assert!(cases.len() > 50, "the corpus was read: {}", cases.len());
    let mut wrong = Vec::new();
    for (sender, case) in &cases {
        let kind = if case.is_about_groups() { ResourceKind::Group } else { ResourceKind::User };
        let then = &case.then;
        let why = match outcome(kind, case) {
            Err(error) if then.status < 300 => Some(format!("{error:?}")),
            Err(error) => {
                let word = error.scim_type.map(ScimType::as_str);
                (error.status != then.status || word != then.scim_type.as_deref()).then(|| format!("{error:?}"))
            }
            Ok(_) if then.status >= 300 => Some("it was taken".to_owned()),
            Ok((after, found)) => {
                let lacks = then.resource.as_ref().and_then(|wanted| missing(wanted, &plain(&after)));
                let has = then.without.iter().find(|name| after.contains_key(*name)).map(|name| format!("{name} is there"));
                let count = then.total.filter(|total| *total != found).map(|total| format!("{found} were found, and not {total}"));
                lacks.or(has).or(count)
            }
        };
        wrong.extend(why.map(|why| format!("{sender}: {}: {why}", case.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_request_of_the_corpus_names_where_it_is_documented() {
    for (sender, case) in cases(&NAMES) {
        let hosts = ["https://learn.microsoft.com/", "https://developer.okta.com/", "https://github.com/", "https://www.rfc-editor.org/"];
        assert!(hosts.iter().any(|host| case.source.starts_with(host)), "{sender}: {}: {}", case.name, case.source);
    }
}
