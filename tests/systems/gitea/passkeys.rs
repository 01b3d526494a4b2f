//! Passkeys: a browser's part is played here, as W3C's Web Authentication wants it.

use std::collections::BTreeSet;
use std::path::Path;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rcgen::{KeyPair, PublicKeyData, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::process::Command;
use usher::plan::account::{AccountChange, Capability, Managed, Obstacle, Presence, steps};

use super::Forge;
use super::habits::apply;
use super::web::Session;
use crate::conformance::{Target, made, read, wish};
use crate::support::systems::git::said;

/// Writes down what her browser told Gitea when she added the passkey on her page.
const ADD: &str = "
import sqlite3, sys
base = sqlite3.connect(sys.argv[1], timeout=60)
base.execute('insert into webauthn_credential (name, lower_name, user_id, credential_id, public_key, attestation_type, aaguid, sign_count, clone_warning, created_unix, updated_unix) values (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0)',
    ['hers', 'hers', int(sys.argv[2]), bytes.fromhex(sys.argv[3]), bytes.fromhex(sys.argv[4]), 'none', bytes(16)])
base.commit()
";

/// A passkey of somebody's.
struct Passkey {
    key: KeyPair,
    id: String,
}

impl Passkey {
    /// A new one, which she adds to her account.
    async fn of(forge: &Forge, id: &str) -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        // An uncompressed point: 4, x, y. COSE has it as a map.
        let point = key.der_bytes();
        let public = [&[0xa5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..], &point[1..33], &[0x22, 0x58, 32], &point[33..]].concat();
        let base = Path::new(forge.system.env("CONFIG")).with_file_name("gitea.db");
        let credential = HEXLOWER.encode(id.as_bytes());
        let added = Command::new("python3")
            .args(["-c", ADD])
            .arg(base)
            .args([id, &credential, &HEXLOWER.encode(&public)])
            .output()
            .await
            .expect("python3");
        assert!(added.status.success(), "{}", said(&added));
        Self { key, id: id.to_owned() }
    }

    /// What her browser answers to a challenge.
    fn answer(&self, origin: &str, asked: &Value) -> Value {
        let asked = &asked["publicKey"];
        let place = Sha256::digest(asked["rpId"].as_str().expect("a name"));
        // Somebody is there. It does not count how often it was used.
        let device = [&place[..], &[1, 0, 0, 0, 0]].concat();
        let client = json!({ "type": "webauthn.get", "challenge": asked["challenge"], "origin": origin }).to_string();
        let signed = [&device[..], &Sha256::digest(&client)[..]].concat();
        let signature = self.key.sign(&signed).expect("signed");
        let number: u8 = self.id.parse().expect("a small number");
        let user = [number * 2, 0, 0, 0, 0, 0, 0, 0];
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let response = json!({
            "authenticatorData": text(&device), "clientDataJSON": text(client.as_bytes()), "signature": text(&signature), "userHandle": text(&user),
        });
        json!({ "id": text(self.id.as_bytes()), "rawId": text(self.id.as_bytes()), "type": "public-key", "response": response })
    }

    /// Whether it lets her in, without anything else.
    async fn lets_in(&self, forge: &Forge) -> bool {
        let mut session = Session::nobodys(forge);
        let (status, asked) = session.ask("/user/webauthn/passkey/assertion", None).await;
        if status == 403 {
            return false;
        }
        let answer = self.answer(forge.system.env("URL"), &asked);
        let (status, told) = session.ask("/user/webauthn/passkey/login", Some(&answer)).await;
        assert_eq!(status, 200, "the passkey is a good one, whoever it lets in: {told}");
        session.works().await
    }
}

/// No API of Gitea's tells of passkeys or takes them back, as docs/reference/providers/gitea.md tells. They are refused as long as she is locked out, and usher
/// says that they are left.
#[tokio::test]
async fn a_passkey_is_locked_out_with_her_and_told_to_be_left() {
    let forge = Forge::with_passkeys().await;
    let connector = forge.usher();
    let (id, _) = made(connector.as_ref(), "ada").await;
    let passkey = Passkey::of(&forge, &id).await;
    assert!(passkey.lets_in(&forge).await, "it needs no password");
    let mut gone = wish("ada", &[]);
    gone.presence = Presence::Revoked;
    let able = connector.probe().await.expect("it answers");
    let next = async || steps(Some(&read(connector.as_ref(), &id, &Managed::Only(BTreeSet::new())).await), &gone, &able);
    for change in next().await.changes {
        apply(connector.as_ref(), change).await;
        assert!(!passkey.lets_in(&forge).await, "locked out");
    }
    let left = next().await;
    assert_eq!(
        (left.changes, left.obstacles),
        (Vec::new(), vec![Obstacle::Unsupported(Capability::RevokePasskeys)]),
        "it is never pretended"
    );
    apply(connector.as_ref(), AccountChange::SetEnabled { id, enabled: true }).await;
    assert!(passkey.lets_in(&forge).await, "should this fail one day, the page has to be changed, as Gitea can do more");
}

/// Where nobody logs in by them there is nothing to take back.
#[tokio::test]
async fn where_passkeys_are_switched_off_nothing_is_left() {
    let forge = Forge::start().await;
    let ada = &forge.login("ada");
    let connector = forge.usher();
    assert!(connector.probe().await.expect("it answers").contains(&Capability::RevokePasskeys));
    let (id, _) = made(connector.as_ref(), ada).await;
    assert!(!Passkey::of(&forge, &id).await.lets_in(&forge).await);
}
