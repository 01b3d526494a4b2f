//! Health, readiness and metrics over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::telemetry::metrics::Metrics;

/// Serves `/healthz`, `/readyz` and `/metrics` for ever.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, ready: Arc<dyn Fn() -> bool + Send + Sync>) -> std::io::Result<()> {
    let readiness = move || {
        let ready = ready();
        async move { if ready { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "still reading the cluster\n") } }
    };
    let measured = move || {
        let text = metrics.text();
        async move { ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response() }
    };
    let router =
        Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(readiness)).route("/metrics", get(measured));
    axum::serve(listener, router).await
}
