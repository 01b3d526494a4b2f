//! Real outside systems, run by `hack/systems/NAME`: directories, databases, identity providers.

#[allow(dead_code, reason = "each test binary uses some of it")]
pub mod git;
#[allow(dead_code, reason = "each test binary uses some of it")]
pub mod realm;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

use super::evidence;
use super::script::{self, Script, off_thread};

/// An outside system that runs. Dropping it ends it; so does the end of this process, however that comes.
pub struct System {
    name: String,
    script: Script,
}

#[allow(dead_code, reason = "each test binary uses some of it")]
impl System {
    /// Starts the system of that name, with data of its own. What is missing on this machine is installed first, and the test fails if that fails.
    pub async fn start(name: &str) -> Self {
        let name = name.to_owned();
        off_thread(move || Self::start_blocking(&name)).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// The same, where the script is told something by its environment.
    pub async fn start_told(name: &str, variable: (&'static str, &'static str)) -> Self {
        let name = name.to_owned();
        off_thread(move || Self::start_with(&name, &[variable])).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    fn start_blocking(name: &str) -> Result<Self, String> {
        Self::start_with(name, &[])
    }

    fn start_with(name: &str, variables: &[(&str, &str)]) -> Result<Self, String> {
        // Elsewhere the operator is a process of its own.
        if env!("CARGO_CRATE_NAME") == "systems" {
            evidence::listen();
        }
        let mut command = script::run(&format!("systems/{name}"), &format!("-{name}"));
        command.envs(variables.iter().copied());
        let script = Script::start(command, &format!("{name}: ready")).map_err(|said| {
            format!("no {name}, as hack/systems/{name} says:\n{said}\nTo see whether this machine can have it: hack/systems/{name} install")
        })?;
        Ok(Self { name: name.to_owned(), script })
    }

    /// What its `env` file says, such as `URL`; see `hack/systems/NAME --help`.
    #[track_caller]
    pub fn env(&self, key: &str) -> &str {
        self.script.variable(key).unwrap_or_else(|| panic!("hack/systems/{} says no {key}", self.name))
    }

    /// The certificate authority of its certificate.
    pub fn ca_file(&self) -> &Path {
        Path::new(self.env("CA_FILE"))
    }

    /// Where its files and logs are.
    pub fn dir(&self) -> &Path {
        self.script.dir()
    }

    /// The server's process. Another one after a restart.
    pub fn pid(&self) -> Pid {
        self.env("PID").parse().ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// The process of the script that runs it.
    pub fn script_pid(&self) -> Pid {
        i32::try_from(self.script.pid()).ok().and_then(Pid::from_raw).expect("a process id")
    }

    /// Makes it hang, with all its processes: connections are taken, and nothing is answered.
    pub fn pause(&self) {
        self.script.order("pause", "paused");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.script.order("resume", "resumed");
    }

    /// Kills the server, as a crash does. [`Self::restart`] brings it back.
    pub fn kill(&self) {
        kill_process(self.pid(), Signal::KILL).expect("it runs");
    }

    /// Kills the server if it still runs, and starts it again at the same address, with the same data. Returns when it is ready.
    pub async fn restart(mut self) -> Self {
        off_thread(move || {
            self.script.restart("restart");
            self
        })
        .await
    }

    /// Ends it and waits for that.
    pub async fn stop(self) {
        off_thread(move || drop(self)).await;
    }
}

type Slot = Arc<OnceLock<Result<&'static System, String>>>;

/// The system of that name which the tests of this process share: started by the first who asks, ended with the process. Nobody may pause, kill or restart it.
#[allow(dead_code, reason = "each test binary uses some of it")]
pub async fn shared(name: &str) -> &'static System {
    static SLOTS: Mutex<Option<HashMap<String, Slot>>> = Mutex::new(None);
    let slot: Slot = {
        let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get_or_insert_default().entry(name.to_owned()).or_default().clone()
    };
    let name = name.to_owned();
    // A failure is kept: the next test need not wait for it again. libtest drops no statics, and the script ends with its pipe.
    off_thread(move || slot.get_or_init(|| System::start_blocking(&name).map(|system| &*Box::leak(Box::new(system)))).clone())
        .await
        .unwrap_or_else(|problem| panic!("{problem}"))
}
