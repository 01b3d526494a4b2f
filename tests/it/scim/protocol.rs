//! What RFC 7643 and RFC 7644 say: routes, filters, lists, what is shown.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use usher::plan::scim::error::{ScimError, ScimType};
use usher::plan::scim::filter::Filter;
use usher::plan::scim::list::Page;
use usher::plan::scim::matching::fits;
use usher::plan::scim::path::Scope;
use usher::plan::scim::projection::Projection;
use usher::plan::scim::request::{Asked, Call, Query, route, source_of};
use usher::plan::scim::resource::take_in;
use usher::plan::scim::{Attributes, ResourceKind, discovery};

fn attributes(value: Value) -> Attributes {
    value.as_object().cloned().expect("an object")
}

fn user() -> Attributes {
    attributes(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": "x", "externalId": "Ext-1", "userName": "Ada@Example.com", "active": true, "title": "Boss",
        "name": {"familyName": "Lovelace", "givenName": "Ada"},
        "emails": [{"type": "work", "value": "ada@example.com", "primary": true}, {"type": "home", "value": "ada@home.example"}],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"department": "Engines", "manager": {"value": "m"}},
        "meta": {"resourceType": "User", "lastModified": "2026-11-23T08:00:00Z"},
    }))
}

fn reads(text: &str) -> Result<Filter, ScimError> {
    Filter::read(Scope::Resource(ResourceKind::User), text)
}

#[test]
fn filters_compare_as_their_attributes_are_compared() {
    for (filter, fit) in [
        (r#"userName eq "ada@example.com""#, true),
        (r#"USERNAME EQ "ADA@EXAMPLE.COM""#, true),
        // What the sender knows her by is compared letter by letter (RFC 7643, section 3.1).
        (r#"externalId eq "ext-1""#, false),
        (r#"externalId eq "Ext-1""#, true),
        (r#"userName sw "ada""#, true),
        (r#"userName ew ".com""#, true),
        (r#"userName co "EXAMPLE""#, true),
        (r#"userName ne "bob""#, true),
        (r#"userName ne "ada@example.com""#, false),
        ("active eq true", true),
        (r#"active eq "True""#, true),
        ("active eq false", false),
        ("title pr", true),
        ("nickName pr", false),
        ("nickName eq null", true),
        ("title eq null", false),
        (r#"not (title eq "Boss")"#, false),
        (r#"title eq "Boss" or nickName pr and active eq false"#, true),
        (r#"(title eq "Boss" or nickName pr) and active eq false"#, false),
        (r#"emails.value eq "ada@home.example""#, true),
        (r#"emails eq "ADA@example.com""#, true),
        (r#"emails[type eq "home" and value co "home"]"#, true),
        (r#"emails[type eq "home" and primary eq true]"#, false),
        (r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq "engines""#, true),
        (r#"department eq "engines""#, true),
        (r#"manager eq "m""#, true),
        (r#"meta.lastModified gt "2026-11-22T00:00:00Z""#, true),
        (r#"meta.lastModified lt "2026-11-22T00:00:00Z""#, false),
        (r#"name.familyName eq "Love\u006cace""#, true),
    ] {
        let read = reads(filter).unwrap_or_else(|error| panic!("{filter}: {error:?}"));
        assert_eq!(fits(&read, &user()), fit, "{filter}");
    }
}

#[test]
fn a_filter_that_cannot_be_read_is_an_error_with_the_remedy() {
    let deep = format!("{}title pr{}", "(".repeat(40), ")".repeat(40));
    let long = vec!["title pr"; 100].join(" or ");
    for (filter, says) in [
        ("", "no attribute"),
        ("title", "eq, ne, co"),
        ("title eq Boss", "double quotes"),
        (r#"title eq "Boss"#, "not closed"),
        (r#"title eq "Boss" extra"#, "and or or"),
        (r#"salary gt "1""#, "/Schemas"),
        (r#"(title eq "Boss""#, "lacks a )"),
        (r#"emails[type eq "work""#, "lacks a ]"),
        (r#"title[type eq "work"]"#, "no parts"),
        (deep.as_str(), "brackets in each other"),
        (long.as_str(), "comparisons"),
    ] {
        let error = reads(filter).expect_err(filter);
        assert_eq!((error.status, error.scim_type), (400, Some(ScimType::InvalidFilter)), "{filter}");
        assert!(error.detail.contains(says), "{filter}: {}", error.detail);
    }
    assert!(reads(&"x".repeat(5_000)).is_err());
}

#[test]
fn routes_are_those_of_the_rfc_and_other_methods_are_told_which_are() {
    assert_eq!(source_of("/scim/v2/hr/Users/1"), Some(("hr", "Users/1")));
    assert_eq!((source_of("/scim/v2/"), source_of("/metrics"), source_of("/scim/v2/hr")), (None, None, Some(("hr", ""))));
    for (method, path, call) in [
        ("GET", "Users", Call::Find(Some(ResourceKind::User), Asked::InQuery)),
        ("GET", "users/", Call::Find(Some(ResourceKind::User), Asked::InQuery)),
        ("POST", "Users", Call::Create(ResourceKind::User)),
        ("POST", "Groups/.search", Call::Find(Some(ResourceKind::Group), Asked::InBody)),
        ("POST", ".search", Call::Find(None, Asked::InBody)),
        ("PATCH", "Groups/a%20b", Call::Patch(ResourceKind::Group, "a b".to_owned())),
        ("DELETE", "Users/1", Call::Delete(ResourceKind::User, "1".to_owned())),
        ("GET", "Schemas/urn:x", Call::Schemas(Some("urn:x".to_owned()))),
    ] {
        assert_eq!(route(method, path), Ok(call), "{method} {path}");
    }
    for (method, path, status, allow) in [
        ("POST", "ServiceProviderConfig", 405, Some("GET")),
        ("DELETE", "Users", 405, Some("GET, POST")),
        ("POST", "Users/1", 405, Some("GET, PUT, PATCH, DELETE")),
        ("GET", "Users/1/2", 404, None),
        ("GET", "nothing", 404, None),
        ("GET", "Me", 501, None),
        ("POST", "Bulk", 501, None),
    ] {
        let error = route(method, path).expect_err(path);
        assert_eq!((error.status, error.allow), (status, allow), "{method} {path}");
    }
}

#[test]
fn a_query_is_read_with_its_percent_signs() {
    let query = Query::read("filter=userName%20eq%20%22a%2Bb%40c%22&startIndex=2&count=5&excludedAttributes=members&attributes=a+b&x=y");
    assert_eq!(query.filter.as_deref(), Some(r#"userName eq "a+b@c""#));
    assert_eq!((query.start.as_deref(), query.count.as_deref()), (Some("2"), Some("5")));
    assert_eq!((query.excluded.as_deref(), query.attributes.as_deref()), (Some("members"), Some("a b")));
    let body = json!({"attributes": ["userName", "name"], "filter": "title pr", "startIndex": 3, "count": 4});
    let query = Query::of_search(&body);
    assert_eq!((query.attributes.as_deref(), query.start.as_deref()), (Some("userName,name"), Some("3")));
}

#[test]
fn pages_are_counted_from_one_and_bounded() {
    let all: Vec<usize> = (1..=250).collect();
    for (start, count, first, length) in [
        (None, None, Some(1), 100),
        (Some("0"), Some("10"), Some(1), 10),
        (Some("-5"), Some("10"), Some(1), 10),
        (Some("241"), Some("100"), Some(241), 10),
        (Some("251"), Some("100"), None, 0),
        (Some("1"), Some("0"), None, 0),
        (Some("1"), Some("-1"), None, 0),
        (Some("1"), Some("1000"), Some(1), 200),
        (Some("9223372036854775807"), Some("9223372036854775807"), None, 0),
    ] {
        let page = Page::read(start, count).expect("numbers");
        let of = page.of(&all);
        assert_eq!((of.first().copied(), of.len()), (first, length), "{start:?} {count:?}");
    }
    assert_eq!(Page::read(Some("one"), None).expect_err("a word").scim_type, Some(ScimType::InvalidValue));
    let told = Page { start: 3, count: 2 }.response(7, vec![json!({}), json!({})]);
    assert_eq!((&told["totalResults"], &told["startIndex"], &told["itemsPerPage"]), (&json!(7), &json!(3), &json!(2)));
}

#[test]
fn what_is_shown_is_what_was_asked_for_and_always_the_id() {
    let shown = |only: Option<&str>, but: Option<&str>| {
        let shown = Projection::read(ResourceKind::User, only, but).apply(user());
        let keys: BTreeSet<String> = shown.keys().cloned().collect();
        (shown, keys.into_iter().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(shown(Some("username"), None).1, "id schemas userName");
    assert_eq!(shown(Some("nothing"), None).1, "id schemas");
    let left = shown(None, Some("id,schemas,emails,meta,name,active,title,department")).1;
    assert_eq!(left, "externalId id schemas urn:ietf:params:scim:schemas:extension:enterprise:2.0:User userName");
    let (some, _) = shown(Some("emails.value,name.givenName,urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"), None);
    assert_eq!(some["emails"], json!([{"value": "ada@example.com"}, {"value": "ada@home.example"}]));
    assert_eq!(some["name"], json!({"givenName": "Ada"}));
    assert_eq!(some["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"], json!({"department": "Engines"}));
    let (less, _) = shown(None, Some("emails.primary,manager"));
    assert_eq!(less["emails"][0], json!({"type": "work", "value": "ada@example.com"}));
    assert_eq!(less["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"], json!({"department": "Engines"}));
    let groups = Projection::read(ResourceKind::Group, None, Some("members"));
    assert!(!groups.shows("members") && groups.shows("displayName") && groups.says());
}

#[test]
fn what_is_taken_in_is_of_the_schema_whatever_the_letters_and_passwords_are_no_part_of_it() {
    let taken = take_in(
        ResourceKind::User,
        &json!({
            "USERNAME": "ada", "Active": "FALSE", "password": "S3cret", "x509Certificates": [{"value": "MII"}], "id": "mine", "meta": {"version": "1"},
            "groups": [{"value": "admins"}], "emails": {"VALUE": "a@example.com", "secret": "x"}, "nickName": null, "roles": [],
            "URN:ietf:params:scim:schemas:extension:enterprise:2.0:user": {"EmployeeNumber": 701_984, "manager": "m", "badge": 7},
        }),
    );
    assert_eq!(
        Value::Object(taken.expect("taken")),
        json!({
            "userName": "ada", "active": false, "emails": [{"value": "a@example.com"}],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"employeeNumber": "701984", "manager": {"value": "m"}},
        })
    );
    for (body, says) in [
        (json!([]), "object of JSON"),
        (json!({"userName": " "}), "userName"),
        (json!({"userName": "a", "active": "perhaps"}), "active is true or false"),
        (json!({"userName": "a", "name": ["x"]}), "name is an object"),
        (json!({"userName": "a", "emails": [{"value": "a", "primary": true}, {"value": "b", "primary": "true"}]}), "primary"),
        (json!({"userName": "a".repeat(5_000)}), "4096"),
    ] {
        let error = take_in(ResourceKind::User, &body).expect_err("nonsense");
        assert!(error.status == 400 && error.detail.contains(says), "{body}: {}", error.detail);
    }
}

#[test]
fn discovery_tells_of_two_types_and_three_schemas_that_they_name() {
    let base = "https://usher.example.com/scim/v2/hr";
    let types = discovery::resource_types(base, None).expect("types");
    assert_eq!(types["totalResults"], 2);
    for kind in types["Resources"].as_array().expect("a list") {
        let extensions = kind["schemaExtensions"].as_array().expect("a list").iter().map(|it| &it["schema"]);
        for schema in std::iter::once(&kind["schema"]).chain(extensions) {
            let told = discovery::schemas(base, schema.as_str()).expect("a schema");
            assert_eq!(&told["id"], schema);
        }
    }
    assert_eq!(discovery::schemas(base, Some("urn:x")).expect_err("none").status, 404);
    let config = discovery::provider_config(base);
    assert_eq!(
        (&config["patch"]["supported"], &config["etag"]["supported"], &config["bulk"]["supported"]),
        (&json!(true), &json!(true), &json!(false))
    );
    let told = discovery::schemas(base, None).expect("schemas").to_string();
    assert!(!told.contains("password"), "none is kept");
}
