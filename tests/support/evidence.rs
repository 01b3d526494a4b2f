//! What `hack/no-secrets` reads at the end of `make test`, where `USHER_EVIDENCE` names a folder for it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Once;

use parking_lot::Mutex;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

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

/// All that usher logged in this process. It is one log for all tests: what is spawned logs from anywhere.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// From the first call on, all that usher logs in this process is kept, whatever its level; and all that its libraries log, too, where there is a folder for it.
pub fn listen() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let usher = Targets::new().with_target("usher", LevelFilter::TRACE);
        let own = fmt::layer().with_ansi(false).with_writer(|| Log).with_filter(usher);
        let open = |path| OpenOptions::new().create(true).append(true).open(path).expect("a file in USHER_EVIDENCE");
        let all =
            file("connectors", "log").map(|path| fmt::layer().with_ansi(false).with_writer(open(path)).with_filter(LevelFilter::TRACE));
        tracing::subscriber::set_global_default(Registry::default().with(own).with(all)).expect("the only one");
        tracing::trace!(target: "usher", "the log is heard");
    });
}

/// What usher has logged since.
pub fn logged() -> String {
    String::from_utf8_lossy(&LOG.lock()).into_owned()
}
