//! TLS towards outside systems: always verified, against the public CAs or the one that the Provider or Source names.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

use super::error::ConnectorError;

/// How to talk TLS to a system: with a CA of its own only that one is trusted.
pub fn config(ca: Option<&str>) -> Result<ClientConfig, ConnectorError> {
    let invalid = |message: String| ConnectorError::InvalidSettings { field: "caSecret", message };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| invalid(error.to_string()))?;
    let Some(pem) = ca else {
        let builder = builder.with_platform_verifier().map_err(|error| invalid(format!("no public CA can be read: {error}")))?;
        return Ok(builder.with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| invalid(format!("not a certificate in PEM: {error}")))?;
        roots.add(certificate).map_err(|error| invalid(format!("not the certificate of a CA: {error}")))?;
    }
    if roots.is_empty() {
        return Err(invalid("there is no certificate in it: put the CA's certificate there, as PEM".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
