//! What needs no server.

use super::*;

fn owner(person: &str) -> Owner {
    Owner { installation: "here".to_owned(), person: person.to_owned(), developer: "ada".to_owned(), adopted: false }
}

#[test]
fn a_mark_replaces_the_one_before_and_leaves_what_others_wrote() {
    let first = marked("of the data team\nask Grace", &owner("p-1"));
    assert_eq!(first, "of the data team\nask Grace\nusher/here/p-1/ada");
    assert_eq!(marked(&first, &owner("p-2")), "of the data team\nask Grace\nusher/here/p-2/ada");
    assert_eq!(marked("", &owner("p-1")), "usher/here/p-1/ada");
}

#[test]
fn names_that_the_server_would_change_are_refused() {
    for (login, fits) in [("ada", true), ("ä", true), ("", false), ("a\0da", false)] {
        assert_eq!(usable("make", login).is_ok(), fits, "{login:?}");
    }
    assert!(usable("make", &"a".repeat(63)).is_ok());
    let message = usable("make", &"ä".repeat(32)).expect_err("64 bytes").to_string();
    assert!(message.contains("64 bytes") && message.contains("shorter"), "{message}");
}

#[test]
fn only_urls_that_leave_nothing_to_chance_are_taken() {
    let server = |url: &str| {
        let settings = provider::Postgresql { url: url.to_owned(), user: "usher".to_owned(), ..provider::Postgresql::default() };
        let secrets = Secrets { credential: "secret".into(), ca: None };
        Server::new(&settings, &secrets, Arc::new(Throttle::new(1)))
    };
    for url in ["postgresql://db.example.com:5432/postgres", "postgres://10.0.0.1/app", "postgresql://one:5432,two:5433/postgres"] {
        let server = server(url).expect(url);
        assert!(!format!("{server:?}").contains("secret"));
    }
    for url in [
        "postgresql://db.example.com",
        "postgresql:///postgres",
        "postgresql://somebody:password@db.example.com/postgres",
        "postgresql://db.example.com/postgres?sslmode=disable",
        "postgresql://%2Fvar%2Frun/postgres",
        "https://db.example.com",
    ] {
        let error = server(url).expect_err(url);
        assert!(matches!(error, ConnectorError::InvalidSettings { field: "url", .. }), "{url}: {error}");
        assert!(!error.chain().contains("password@"), "{error}");
    }
}
