//! What a request may cost: whoever has a token of one Source must not keep the operator busy.

use serde_json::{Value, json};
use usher::plan::scim::effort::Effort;
use usher::plan::scim::error::ScimType;
use usher::plan::scim::filter::Filter;
use usher::plan::scim::patch::patch;
use usher::plan::scim::path::Scope;
use usher::plan::scim::{Attributes, ResourceKind};

use super::kept::id;

fn group(members: u16) -> Attributes {
    let members: Vec<Value> = (0..members).map(|number| json!({"value": id(number).to_string()})).collect();
    let group = json!({"displayName": "all", "members": members});
    group.as_object().cloned().expect("an object")
}

fn operations(count: usize, operation: impl Fn(usize) -> Value) -> Value {
    json!({"Operations": (0..count).map(operation).collect::<Vec<_>>()})
}

#[test]
fn many_operations_with_long_filters_on_many_members_are_refused() {
    let long = vec![r#"value eq "x""#; 60].join(" or ");
    let texts: Value = "x".repeat(4_000).into();
    for (what, body) in [
        ("long filters", operations(1_000, |_| json!({"op": "remove", "path": format!("members[{long}]")}))),
        ("long texts", operations(200, |_| json!({"op": "replace", "path": "members.type", "value": texts}))),
        (
            "many filters",
            operations(1_000, |_| json!({"op": "remove", "path": r#"members[value eq "x" or value eq "y" or value eq "z"]"#})),
        ),
    ] {
        let error = patch(ResourceKind::Group, &group(5_000), &body).expect_err(what);
        assert!(error.status == 413 && error.detail.contains("several PATCHes"), "{what}: {error:?}");
    }
}

#[test]
fn what_senders_do_with_the_largest_group_is_served() {
    let all = group(5_000);
    let gone = |number: usize| format!("members[value eq \"{}\"]", id(u16::try_from(number).expect("a number")));
    let rest =
        patch(ResourceKind::Group, &all, &operations(1_000, |number| json!({"op": "remove", "path": gone(number)}))).expect("served");
    assert_eq!(rest["members"].as_array().map(Vec::len), Some(4_000));
    let one = |number: usize| json!([{"value": id(u16::try_from(6_000 + number).expect("a number")).to_string()}]);
    let more =
        patch(ResourceKind::Group, &rest, &operations(1_000, |number| json!({"op": "add", "path": "members", "value": one(number)})));
    assert_eq!(more.expect("served")["members"].as_array().map(Vec::len), Some(5_000));
}

#[test]
fn a_search_that_compares_too_much_is_refused() {
    let filter = |text: &str| Filter::read(Scope::Resource(ResourceKind::Group), text).expect("a filter");
    let (short, long) = (filter(r#"members eq "x""#), filter(&vec![r#"members eq "x""#; 60].join(" or ")));
    let search = |filter: &Filter| (0..1_000).try_fold(Effort::of_search(filter), |effort, _| effort.on(1_000, 5_000));
    assert!(search(&short).is_ok(), "whose groups are these, in a thousand of the largest");
    let error = search(&long).expect_err("too much");
    assert_eq!((error.status, error.scim_type), (400, Some(ScimType::TooMany)));
    let people = |filter: &Filter| (0..20_000).try_fold(Effort::of_search(filter), |effort, _| effort.on(1_000, 0));
    assert!(people(&filter(r#"displayName co "a" and not (displayName ew "b")"#)).is_ok());
}
