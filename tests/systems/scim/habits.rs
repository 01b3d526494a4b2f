//! What services do that the RFCs allow, or that they should not do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};
use usher::connectors::Connector;
use usher::connectors::error::ConnectorError;
use usher::plan::account::{Account, AccountChange, AccountKey, AccountState, Capability, Managed, Presence};

use super::{GROUP, Service, Tenant};
use crate::conformance::{Target, can, converge, known, named, owner, profile, read, wish};
use crate::proxy::{Asked, HttpsProxy, Told};

const NONE: Managed = Managed::Only(BTreeSet::new());
const TEAM: &str = "Team developers";

/// A tenant, a proxy in front of it and a connector behind that.
async fn behind_a_proxy() -> (Tenant, HttpsProxy, Arc<dyn Connector>) {
    let tenant = Tenant::start().await;
    let proxy = tenant.service.proxy().await;
    let connector = tenant.service.connector_behind(&proxy);
    (tenant, proxy, connector)
}

fn only(group: &str) -> Managed {
    Managed::Only(BTreeSet::from([group.to_owned()]))
}

fn create(connector: &dyn Connector) -> AccountChange {
    AccountChange::Create { profile: connector.keeps(profile("ada")), owner: owner("ada") }
}

async fn made(connector: &dyn Connector) -> String {
    connector.apply(&create(connector)).await.expect("made").id.expect("an id")
}

fn rejected(answer: Result<usher::connectors::Applied, ConnectorError>) -> String {
    match answer {
        Err(error @ ConnectorError::Rejected { .. }) => error.chain(),
        other => panic!("{other:?}"),
    }
}

/// Says of a service what its ServiceProviderConfig does not.
pub fn without_patch(asked: &Asked, told: &mut Told) {
    if asked.path.ends_with("/ServiceProviderConfig") {
        let mut value = told.value();
        value["patch"]["supported"] = false.into();
        told.set(&value);
    }
}

/// Everything that is changed, on a service that takes whole resources only. What else it keeps stays as it was.
async fn everything_changes_by_put(tenant: &Tenant, proxy: &HttpsProxy, connector: &dyn Connector) {
    let group = tenant.service.make_group(TEAM).await;
    let bob = tenant.make_stranger("bob", "bob@example.com").await;
    tenant.service.set(&format!("/Groups/{group}"), &json!({ "members": [{ "value": bob }] })).await;
    let (account, _) = converge(connector, &wish("ada", &[TEAM.to_owned()])).await;
    let id = account.expect("an account").id;
    let (user_path, group_path) = (format!("/Users/{id}"), format!("/Groups/{group}"));
    tenant.service.set(&user_path, &others()).await;
    tenant.service.set(&group_path, &json!({ "externalId": "00g1" })).await;
    let mut married = wish("ada", &[]);
    (married.profile.display_name, married.managed) = ("Ada King".to_owned(), only(TEAM));
    let (account, changes) = converge(connector, &married).await;
    assert_eq!((account.expect("an account").profile.display_name.as_str(), changes), ("Ada King", 2));
    connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled: false }).await.expect("disabled");
    let user = tenant.service.ask("GET", &user_path, &Value::Null).await;
    assert_eq!((&user["active"], &user["externalId"]), (&json!(false), &json!(owner("ada").mark())));
    for (name, value) in others().as_object().expect("attributes") {
        assert_eq!(&user[name], value, "{name} is not usher's");
    }
    let group = tenant.service.ask("GET", &group_path, &Value::Null).await;
    assert_eq!((&group["displayName"], &group["externalId"]), (&json!(TEAM), &json!("00g1")));
    assert_eq!(group["members"], json!([{ "value": bob }]), "bob is still in it");
    let puts: Vec<Asked> = proxy.asked().into_iter().filter(|asked| asked.method == Method::PUT).collect();
    assert_eq!(puts.len(), 4, "joins, is renamed, leaves, is disabled");
    assert!(puts.iter().all(|put| put.headers.contains_key("if-match")), "nobody else's change is overwritten");
    assert!(puts.iter().all(|put| put.path.ends_with(put.json()["id"].as_str().expect("an id"))), "each repeats whose it is");
}

/// What others keep of a user, in the core schema and in an extension.
fn others() -> Value {
    json!({
        "title": "Countess", "phoneNumbers": [{ "value": "+44 20 1815", "type": "work" }],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Engines", "employeeNumber": "1815" },
    })
}

#[tokio::test]
async fn a_service_that_says_it_has_no_patch_gets_whole_resources() {
    let (tenant, proxy, connector) = behind_a_proxy().await;
    proxy.edit(without_patch);
    everything_changes_by_put(&tenant, &proxy, connector.as_ref()).await;
    assert_eq!(proxy.asked().iter().filter(|asked| asked.method == Method::PATCH).count(), 0);
}

#[tokio::test]
async fn a_service_that_refuses_patch_gets_whole_resources() {
    let (tenant, proxy, connector) = behind_a_proxy().await;
    proxy.instead(|asked| (asked.method == Method::PATCH).then(|| Told::json(405, &Value::Null)));
    // Reading comes with what is put, so the versions do, too.
    everything_changes_by_put(&tenant, &proxy, connector.as_ref()).await;
}

/// A group that is put without its members would lose them all.
#[tokio::test]
async fn members_that_are_told_only_when_asked_for_are_put_back() {
    let (tenant, proxy, connector) = behind_a_proxy().await;
    proxy.edit(|asked, told| {
        without_patch(asked, told);
        if asked.path.contains("/Groups/") && !asked.path.contains("attributes=") {
            let mut value = told.value();
            value.as_object_mut().expect("a group").remove("members");
            told.set(&value);
        }
    });
    everything_changes_by_put(&tenant, &proxy, connector.as_ref()).await;
}

#[tokio::test]
async fn what_changed_meanwhile_is_read_again_and_not_overwritten() {
    let (tenant, proxy, connector) = behind_a_proxy().await;
    let id = made(connector.as_ref()).await;
    let path = format!("/Users/{id}");
    let first = AtomicBool::new(true);
    proxy.edit({
        let path = path.clone();
        move |asked, told| {
            without_patch(asked, told);
            // As if somebody changed it right after it was read.
            if asked.method == Method::GET && asked.path.ends_with(&path) && first.swap(false, Ordering::SeqCst) {
                let mut value = told.value();
                (value["meta"]["version"], value["title"]) = ("W/\"of-yesterday\"".into(), Value::Null);
                told.set(&value);
            }
        }
    });
    tenant.service.set(&path, &json!({ "title": "Countess" })).await;
    connector.probe().await.expect("it says that it has no PATCH");
    proxy.forget();
    connector.apply(&AccountChange::SetEnabled { id: id.clone(), enabled: false }).await.expect("disabled");
    assert_eq!(
        proxy.counts().iter().filter(|(what, _)| what.starts_with("PUT")).map(|(_, count)| count).sum::<usize>(),
        2,
        "refused, and again"
    );
    let user = tenant.service.ask("GET", &path, &Value::Null).await;
    assert_eq!((&user["title"], &user["active"]), (&json!("Countess"), &json!(false)));
}

#[tokio::test]
async fn pages_may_be_shorter_than_asked_for() {
    let (tenant, proxy, connector) = behind_a_proxy().await;
    tenant.make_crowd(250).await;
    proxy.rewrite(|asked| asked.path = asked.path.replace("count=100", "count=7"));
    assert_eq!(connector.list(&NONE).await.expect("a list").len(), 250);
    assert_eq!(proxy.asked().len(), 42, "each begins with the last one of the page before");
    proxy.rewrite(|asked| asked.path = asked.path.replace("count=100", "count=1"));
    assert_eq!(connector.list(&NONE).await.expect("a list").len(), 250);
}

#[tokio::test]
async fn a_list_that_ends_too_early_is_an_error() {
    let (tenant, proxy, connector) = behind_a_proxy().await;
    tenant.make_crowd(150).await;
    proxy.edit(|asked, told| {
        let mut value = told.value();
        if asked.path.contains("startIndex=100") {
            value["Resources"] = json!([]);
            told.set(&value);
        }
    });
    let error = connector.list(&NONE).await.expect_err("100 of 150");
    assert!(matches!(error, ConnectorError::Garbled { .. }), "{}", error.chain());
    proxy.edit(|_, told| told.set(&json!({ "users": [] })));
    let error = connector.list(&NONE).await.expect_err("this is no list");
    assert!(matches!(error, ConnectorError::Garbled { .. }), "{}", error.chain());
}

/// As soon as the second page is asked for somebody of the first one is deleted, so often at most; and somebody else comes instead, so that the total stays.
fn moves_before_second_page(tenant: &Arc<Tenant>, proxy: &HttpsProxy, times: usize, replaced: bool) {
    let (tenant, left) = (tenant.clone(), AtomicUsize::new(times));
    proxy.instead(move |asked| {
        let second = asked.path.contains("/Users?") && !asked.path.contains("startIndex=1&");
        if second && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            let move_on = async {
                let page = tenant.service.ask("GET", "/Users?startIndex=5&count=1", &Value::Null).await;
                let id = page["Resources"][0]["id"].as_str().expect("an id").to_owned();
                tenant.service.ask("DELETE", &format!("/Users/{id}"), &Value::Null).await;
                if replaced {
                    tenant.make_stranger(&format!("new-{id}"), "new@example.com").await;
                }
            };
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(move_on));
        }
        None
    });
}

/// People are deleted while the list is read, which moves others to pages that were read already: nobody who stays is missed, or it is no list.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_moves_is_whole_or_an_error() {
    let ids = |list: Vec<Account>| list.into_iter().map(|account| account.id).collect::<BTreeSet<String>>();
    for replaced in [false, true] {
        let (tenant, proxy, connector) = behind_a_proxy().await;
        let tenant = Arc::new(tenant);
        tenant.make_crowd(250).await;
        let before = ids(connector.list(&NONE).await.expect("it stands still"));
        moves_before_second_page(&tenant, &proxy, 1, replaced);
        let listed = ids(connector.list(&NONE).await.unwrap_or_else(|error| panic!("{}", error.chain())));
        let there = ids(connector.list(&NONE).await.expect("it stands still"));
        assert!(there.len() == if replaced { 250 } else { 249 } && there != before, "it has moved");
        // Where the newcomer stands is the service's matter: before the second page she makes up for the one who went, and nothing has moved there.
        let stayed: BTreeSet<String> = before.intersection(&there).cloned().collect();
        assert!(listed.is_superset(&stayed), "{:?} are missing", stayed.difference(&listed));
        assert!(replaced || listed == there, "it was read again");
    }
    let (tenant, proxy, connector) = behind_a_proxy().await;
    let tenant = Arc::new(tenant);
    tenant.make_crowd(250).await;
    moves_before_second_page(&tenant, &proxy, 100, false);
    let error = connector.list(&NONE).await.expect_err("it never stands still");
    assert!(matches!(error, ConnectorError::Garbled { .. }) && error.chain().contains("moved"), "{}", error.chain());
}

#[tokio::test]
async fn a_list_costs_pages_and_groups_and_not_people() {
    let (tenant, proxy, connector) = behind_a_proxy().await;
    tenant.make_crowd(201).await;
    for number in 0..20 {
        tenant.service.make_group(&format!("Team {number}")).await;
    }
    let few = Managed::Only((0..3).map(|number| format!("Team {number}")).collect());
    let many = Managed::Only((0..20).map(|number| format!("Team {number}")).collect());
    for (managed, requests) in [(&NONE, 3), (&few, 6), (&many, 4), (&Managed::All, 4)] {
        proxy.forget();
        connector.list(managed).await.expect("a list");
        assert_eq!(proxy.asked().len(), requests, "{managed:?}");
    }
}

#[tokio::test]
async fn filters_may_be_ignored_or_refused() {
    for refused in [false, true] {
        let (tenant, proxy, connector) = behind_a_proxy().await;
        tenant.make_crowd(120).await;
        tenant.service.make_group("Team releases").await;
        tenant.service.make_group(TEAM).await;
        if refused {
            let error = json!({ "status": 400, "scimType": "invalidFilter", "detail": "no filters here" });
            proxy.instead(move |asked| asked.path.contains("filter=").then(|| Told::json(400, &error)));
        } else {
            proxy.rewrite(|asked| asked.path = asked.path.replace("filter=", "unknown="));
        }
        let (account, _) = converge(connector.as_ref(), &wish("ada", &[TEAM.to_owned()])).await;
        assert_eq!(account.expect("an account").groups, BTreeSet::from([TEAM.to_owned()]));
        assert_eq!(connector.find(&named("nobody"), &NONE).await.expect("an answer"), None);
        let key = AccountKey { email: Some("Stranger-7@example.com".to_owned()), ..named("nobody") };
        let account = connector.find(&key, &NONE).await.expect("an answer").expect("an account");
        assert_eq!(account.profile.username, "stranger-7");
    }
}

#[tokio::test]
async fn no_name_is_part_of_a_question() {
    let (tenant, proxy, connector) = behind_a_proxy().await;
    tenant.make_crowd(3).await;
    for name in [r#"x" or userName pr or userName eq "x"#, r#"x\" or userName pr"#, "../Groups", "a&count=0"] {
        proxy.forget();
        assert_eq!(connector.find(&named(name), &NONE).await.expect("an answer"), None, "{name}");
        let asked = reqwest::Url::parse(&format!("https://there{}", proxy.asked()[0].path)).expect("a URL");
        let filter = asked.query_pairs().find(|(key, _)| key == "filter").expect("a filter").1.into_owned();
        let quoted: String = serde_json::from_str(filter.strip_prefix("userName eq ").expect("one comparison")).expect("one text");
        assert_eq!(quoted, name);
        assert_eq!(connector.find(&known(name, "nobody"), &NONE).await.expect("an answer"), None, "{name}");
    }
    let quoted = r#"Team "A" \ & B"#;
    tenant.service.make_group(quoted).await;
    let (account, _) = converge(connector.as_ref(), &wish("ada", &[quoted.to_owned()])).await;
    assert_eq!(account.expect("an account").groups, BTreeSet::from([quoted.to_owned()]));
    converge(connector.as_ref(), &wish("ada", &[])).await;
}

#[tokio::test]
async fn logins_have_no_letter_case() {
    let (tenant, _proxy, connector) = behind_a_proxy().await;
    let id = tenant.make_stranger("ADA", "ADA@Example.com").await;
    let account = connector.find(&named("ada"), &NONE).await.expect("an answer").expect("an account");
    assert_eq!((account.id.as_str(), account.profile.email.as_str()), (id.as_str(), "ada@example.com"));
    assert!(rejected(connector.apply(&create(connector.as_ref())).await).contains("the name is taken"));
}

#[tokio::test]
async fn members_that_are_gone_disturb_nobody() {
    let (tenant, _proxy, connector) = behind_a_proxy().await;
    let members = json!([{ "value": "gone-1" }, { "value": "gone-2", "type": "Group" }]);
    let id = tenant.service.make("/Groups", &json!({ "schemas": [GROUP], "displayName": TEAM, "members": members })).await;
    let mut wished = wish("ada", &[TEAM.to_owned()]);
    let (account, _) = converge(connector.as_ref(), &wished).await;
    assert_eq!(account.expect("an account").groups, BTreeSet::from([TEAM.to_owned()]));
    assert_eq!(connector.list(&only(TEAM)).await.expect("a list").len(), 1, "nobody is made up");
    (wished.presence, wished.groups) = (Presence::Gone, BTreeSet::new());
    converge(connector.as_ref(), &wished).await;
    let group = tenant.service.ask("GET", &format!("/Groups/{id}"), &Value::Null).await;
    assert_eq!(group["members"].as_array().map(Vec::len), Some(2), "only hers was taken out: {group}");
}

#[tokio::test]
async fn an_answer_without_a_body_and_a_relative_location_are_understood() {
    let (_tenant, proxy, connector) = behind_a_proxy().await;
    proxy.edit(|asked, told| {
        if asked.method == Method::POST && told.status == 201 {
            let id = told.value()["id"].as_str().expect("an id").to_owned();
            told.headers.insert("location", format!("/scim/v2/Users/{id}").parse().expect("a header"));
            told.body = "".into();
        }
        if told.status == 409 {
            told.set(&json!({ "status": 409, "detail": "User ada exists" }));
        }
    });
    let id = made(connector.as_ref()).await;
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.profile.username, "ada");
    assert_eq!(made(connector.as_ref()).await, id, "the conflict tells its status as a number");
}

#[tokio::test]
async fn a_service_that_loses_marks_is_found_out() {
    let (tenant, proxy, connector) = behind_a_proxy().await;
    assert!(can(connector.as_ref(), Capability::Mark).await, "nothing speaks against it yet");
    proxy.edit(|asked, told| {
        let text = String::from_utf8_lossy(&told.body).replace("externalId", "lost");
        if asked.method != Method::POST {
            told.body = text.into();
        }
    });
    let id = made(connector.as_ref()).await;
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.owner, None);
    assert!(!can(connector.as_ref(), Capability::Mark).await);
    let stranger = tenant.make_stranger("bob", "bob@example.com").await;
    let adopt = AccountChange::Adopt { id: stranger, owner: owner("bob") };
    assert!(rejected(connector.apply(&adopt).await).contains("does not keep externalId"));
}

#[tokio::test]
async fn one_mark_among_many_strangers_proves_that_marks_are_kept() {
    // With filters it need not be on the first page.
    for (filters, strangers) in [(true, 1_000), (false, 60)] {
        let (tenant, proxy, connector) = behind_a_proxy().await;
        tenant.make_crowd(strangers).await;
        assert!(!can(connector.as_ref(), Capability::Mark).await, "there are accounts, and none has one");
        made(connector.as_ref()).await;
        if !filters {
            proxy.instead(|asked| asked.path.contains("filter=").then(|| Told::json(400, &Value::Null)));
        }
        assert!(can(connector.as_ref(), Capability::Mark).await);
    }
}

#[tokio::test]
async fn another_clients_external_id_is_left_alone() {
    let (tenant, _proxy, connector) = behind_a_proxy().await;
    let id = tenant.make_stranger("ada", "ada@example.com").await;
    tenant.service.set(&format!("/Users/{id}"), &json!({ "externalId": "00u1abcd" })).await;
    let adopt = AccountChange::Adopt { id: id.clone(), owner: owner("ada") };
    assert!(rejected(connector.apply(&adopt).await).contains("another client"));
    let user = tenant.service.ask("GET", &format!("/Users/{id}"), &Value::Null).await;
    assert_eq!(user["externalId"], "00u1abcd");
}

#[tokio::test]
async fn a_change_that_is_dropped_in_silence_is_no_success() {
    let (tenant, proxy, connector) = behind_a_proxy().await;
    tenant.service.make_group(TEAM).await;
    let id = made(connector.as_ref()).await;
    proxy.instead(|asked| (asked.method == Method::PATCH).then(|| Told::json(204, &Value::Null)));
    for change in
        [AccountChange::SetEnabled { id: id.clone(), enabled: false }, AccountChange::Join { id: id.clone(), group: TEAM.to_owned() }]
    {
        let said = rejected(connector.apply(&change).await);
        assert!(said.contains("says that it did"), "{said}");
    }
    assert_eq!(read(connector.as_ref(), &id, &NONE).await.state, AccountState::Enabled);
}

#[tokio::test]
async fn a_password_is_not_repeated_by_an_error() {
    let (_tenant, proxy, connector) = behind_a_proxy().await;
    let id = made(connector.as_ref()).await;
    for status in [400, 403, 500] {
        proxy.instead(move |asked| {
            let password = asked.json()["Operations"][0]["value"].as_str()?.to_owned();
            Some(Told::json(status, &json!({ "detail": format!("{password} is too short") })))
        });
        proxy.forget();
        let error = connector.apply(&AccountChange::IssuePassword { id: id.clone() }).await.expect_err("refused");
        let sent = proxy.asked().into_iter().find(|asked| asked.method == Method::PATCH).expect("it was sent").json();
        let password = sent["Operations"][0]["value"].as_str().expect("a password").to_owned();
        assert!(!error.chain().contains(&password) && !format!("{error:?}").contains(&password), "{status}");
    }
}

#[tokio::test]
async fn where_disabling_revokes_nothing_is_left_of_who_departed() {
    let (tenant, _proxy, _) = behind_a_proxy().await;
    let mut settings = Service::settings(&tenant.service.url);
    settings.disabling_revokes = true;
    let connector = tenant.service.connect(&settings, &tenant.service.ca, &tenant.service.token);
    let able = connector.probe().await.expect("it answers");
    let account = converge(connector.as_ref(), &wish("ada", &[])).await.0.expect("an account");
    assert!(account.credentials && able.contains(&Capability::RevokeTokens), "she may have logged in");
    let mut gone = wish("ada", &[]);
    gone.presence = Presence::Revoked;
    let account = converge(connector.as_ref(), &gone).await.0.expect("an account");
    assert_eq!((account.state, account.credentials), (AccountState::Disabled, false));
    assert_eq!(usher::plan::account::steps(Some(&account), &gone, &able), usher::plan::account::Steps::default());
}

#[tokio::test]
async fn administrators_are_told() {
    let (tenant, _proxy, connector) = behind_a_proxy().await;
    let id = tenant.make_stranger("root-admin", "root@example.com").await;
    tenant.service.set(&format!("/Users/{id}"), &json!({ "roles": [{ "value": "Workspace Owner" }] })).await;
    assert!(read(connector.as_ref(), &id, &NONE).await.administrator);
}

#[tokio::test]
async fn a_service_without_groups_passwords_and_description_says_so() {
    let (_tenant, proxy, connector) = behind_a_proxy().await;
    proxy.instead(|asked| {
        ["/Groups", "/ServiceProviderConfig"].iter().any(|it| asked.path.contains(it)).then(|| Told::json(404, &Value::Null))
    });
    let able = connector.probe().await.expect("it answers");
    let expected = [Capability::Create, Capability::Disable, Capability::Delete, Capability::List, Capability::Mark];
    assert_eq!(able, BTreeSet::from(expected));
    let id = made(connector.as_ref()).await;
    assert!(rejected(connector.apply(&AccountChange::IssuePassword { id }).await).contains("initialCredentials: None"));
}

#[tokio::test]
async fn a_url_without_users_is_told_as_wrong() {
    let tenant = Tenant::start().await;
    let settings = Service::settings(&format!("{}/there", tenant.service.url));
    let connector = tenant.service.connect(&settings, &tenant.service.ca, &tenant.service.token);
    let error = connector.probe().await.expect_err("nothing is there");
    assert!(matches!(error, ConnectorError::InvalidSettings { field: "url", .. }), "{}", error.chain());
}
