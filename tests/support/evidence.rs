//! What `hack/no-secrets` reads at the end of `make test`, where `USHER_EVIDENCE` names a folder for it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// A file of this process in the folder, if there is one.
pub fn file(name: &str, extension: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("USHER_EVIDENCE").filter(|folder| !folder.is_empty())?;
    Some(PathBuf::from(folder).join(format!("{name}-{}.{extension}", std::process::id())))
}

/// Remembers a secret that came into being here and stands in no Secret: nothing may tell it.
pub fn secret(name: &str, value: &str) {
    let Some(path) = file("made", "secrets") else { return };
    let mut file = OpenOptions::new().create(true).append(true).open(path).expect("a file in USHER_EVIDENCE");
    file.write_all(format!("{name}\t{value}\n").as_bytes()).expect("space on the disk");
}

/// Writes down all that the connectors of this process and their libraries say, from the first call on.
pub fn trace_connectors() {
    static STARTED: std::sync::Once = std::sync::Once::new();
    STARTED.call_once(|| {
        let Some(path) = file("connectors", "log") else { return };
        let file = OpenOptions::new().create(true).append(true).open(path).expect("a file in USHER_EVIDENCE");
        let all = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(file);
        all.try_init().expect("the first subscriber of this process");
    });
}
