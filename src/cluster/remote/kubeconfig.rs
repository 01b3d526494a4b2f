//! Kubeconfigs out of Secrets (<https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>). They come from whoever may write Secrets in usher's namespace,
//! and are read by the operator: so they may name no program and no file.

use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use jiff::Timestamp;
use kube::Config;
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig};
use secrecy::ExposeSecret;

use crate::plan::settings::Server;

/// A connection that is not there after this is none.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// An API server that says nothing for so long is not there. Watches are told once a minute how far they are.
const ANSWERS_WITHIN: Duration = Duration::from_secs(75);

/// What a kubeconfig says.
pub struct Told {
    /// How usher reaches the cluster.
    pub config: Config,
    /// How people do.
    pub server: Server,
    /// When the token ends, if it says so.
    pub token_ends: Option<Timestamp>,
}

/// Reads the current context of a kubeconfig.
///
/// # Errors
/// When it cannot be used, with the remedy.
pub async fn read(text: &str) -> Result<Told, String> {
    // What a parser says may quote what it did not understand, so it is not told.
    let file = Kubeconfig::from_yaml(text).map_err(|_| "it is not a kubeconfig; make it with `usher remote kubeconfig`".to_owned())?;
    let current = file.current_context.clone().unwrap_or_default();
    let context = file.contexts.iter().find(|context| context.name == current).and_then(|context| context.context.clone());
    let context = context.ok_or_else(|| format!("its current-context {current:?} is none of its contexts"))?;
    let cluster = file.clusters.iter().find(|cluster| cluster.name == context.cluster).and_then(|cluster| cluster.cluster.clone());
    let cluster = cluster.ok_or_else(|| format!("it has no cluster {:?}", context.cluster))?;
    let user = context.user.unwrap_or_default();
    let auth = file.auth_infos.iter().find(|auth| auth.name == user).and_then(|auth| auth.auth_info.clone());
    let auth = auth.ok_or_else(|| format!("it has no user {user:?}"))?;
    refuse_cluster(&cluster)?;
    refuse_user(&auth)?;
    let server = server(&cluster)?;
    let token_ends = auth.token.as_ref().and_then(|token| end(token.expose_secret()));
    let options = KubeConfigOptions { context: Some(current), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(file, &options).await;
    let mut config = config.map_err(|_| "its certificates or keys cannot be used; make it with `usher remote kubeconfig`".to_owned())?;
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = Some(ANSWERS_WITHIN);
    config.reset_reader_on_write = true;
    Ok(Told { config, server, token_ends })
}

/// When a token ends, if it is one that says so (<https://www.rfc-editor.org/rfc/rfc7519#section-4.1.4>).
fn end(token: &str) -> Option<Timestamp> {
    let claims = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(claims.get("exp")?.as_i64()?).ok()
}

fn refuse_cluster(cluster: &Cluster) -> Result<(), String> {
    if cluster.certificate_authority.is_some() {
        return Err("it names a file (certificate-authority); write certificate-authority-data".to_owned());
    }
    if cluster.proxy_url.is_some() {
        return Err("it goes through a proxy (proxy-url), which could send usher anywhere; take that out".to_owned());
    }
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err("it trusts whoever answers (insecure-skip-tls-verify); write certificate-authority-data".to_owned());
    }
    Ok(())
}

fn refuse_user(auth: &AuthInfo) -> Result<(), String> {
    if auth.exec.is_some() || auth.auth_provider.is_some() {
        return Err("it runs a program to log in (exec or auth-provider), which usher does not; give it a token".to_owned());
    }
    if auth.token_file.is_some() || auth.client_certificate.is_some() || auth.client_key.is_some() {
        return Err("it names a file (tokenFile, client-certificate or client-key); give it a token".to_owned());
    }
    if auth.client_certificate_data.is_some() || auth.client_key_data.is_some() {
        return Err("it logs in with a certificate, which nobody can revoke; give it a token".to_owned());
    }
    if auth.username.is_some() || auth.password.is_some() {
        return Err("it logs in with a password; give it a token".to_owned());
    }
    if auth.impersonate.is_some() || auth.impersonate_groups.is_some() {
        return Err("it acts as somebody else (as or as-groups), whom no policy there knows as usher; take that out".to_owned());
    }
    if auth.token.is_none() {
        return Err("it has no token; give it one".to_owned());
    }
    Ok(())
}

/// How people reach the cluster: as usher does.
fn server(cluster: &Cluster) -> Result<Server, String> {
    let url = cluster.server.clone().unwrap_or_default();
    if !url.starts_with("https://") {
        return Err(format!("its server is {url:?}; write one that begins with https://"));
    }
    let ca_data = cluster.certificate_authority_data.clone().unwrap_or_default();
    if BASE64.decode(ca_data.trim().as_bytes()).is_err() {
        return Err("its certificate-authority-data is not Base64".to_owned());
    }
    Ok(Server { url: url.trim_end_matches('/').to_owned(), ca_data: ca_data.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(cluster: &str, user: &str) -> String {
        format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             clusters: [{{name: c, cluster: {{{cluster}}}}}], users: [{{name: u, user: {{{user}}}}}]}}"
        )
    }

    #[tokio::test]
    async fn programs_files_and_blind_trust_are_refused_and_said() {
        let (server, token) = ("server: \"https://c.example.com\"", "token: secret-value");
        for (cluster, user, said) in [
            (server, "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws}", "exec"),
            (server, "tokenFile: /etc/passwd", "tokenFile"),
            (server, "client-certificate: /a, client-key: /b", "client-certificate"),
            ("server: \"https://c\", certificate-authority: /a", token, "certificate-authority-data"),
            ("server: \"https://c\", insecure-skip-tls-verify: true", token, "insecure-skip-tls-verify"),
            ("server: \"http://c\"", token, "https://"),
            ("server: \"https://c\", proxy-url: \"http://p\"", token, "proxy-url"),
            (server, "client-certificate-data: YQ==, client-key-data: YQ==", "certificate"),
            (server, "username: admin, password: secret-value", "password"),
            (server, "token: secret-value, as: admin", "as somebody else"),
            (server, "token: secret-value, as-groups: [\"system:masters\"]", "as somebody else"),
            (server, "", "no token"),
        ] {
            let error = read(&kubeconfig(cluster, user)).await.err().unwrap_or_default();
            assert!(error.contains(said), "{cluster} {user}: {error}");
        }
        for text in ["", "secret-value", "{current-context: gone}"] {
            let error = read(text).await.err().expect("no kubeconfig");
            assert!(!error.contains("secret-value"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_token_is_enough() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let told = read(&kubeconfig("server: \"https://c.example.com:6443/\"", "token: t")).await.expect("it is whole");
        assert_eq!((told.server.url.as_str(), told.server.ca_data.as_str()), ("https://c.example.com:6443", ""));
        assert_eq!((told.config.cluster_url.host(), told.token_ends), (Some("c.example.com"), None));
        let token = format!("a.{}.c", BASE64URL_NOPAD.encode(br#"{"exp": 1796083200, "sub": "x"}"#));
        let told = read(&kubeconfig("server: \"https://c\"", &format!("token: {token}"))).await.expect("it is whole");
        assert_eq!(told.token_ends, Some("2026-12-01T00:00:00Z".parse().expect("a time")));
    }
}
