//! The operator under test: the compiled binary as a process, with the ServiceAccount of the chart.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::control_plane::off_thread;
use super::install::{Install, NAMESPACE};
use super::{evidence, process, wait_until};

/// How many lines of the log are printed when a test fails.
const TAIL: usize = 100;
/// How long its metrics are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(1);
/// Stands in the log before what a start says.
const STARTED: &str = "---- started ----";

/// One replica. Dropping it kills it; so does the end of this process.
pub struct Operator {
    child: Child,
    arguments: Vec<String>,
    kubeconfig: PathBuf,
    log: PathBuf,
}

impl Operator {
    /// Starts `usher run` for a release; see [`Self::ready`]. Calling it twice makes two replicas.
    pub async fn start(install: &Install) -> Self {
        Self::start_with(install, &[]).await
    }

    /// Starts `usher run` with more flags.
    pub async fn start_with(install: &Install, flags: &[&str]) -> Self {
        Self::start_by(install, install.kubeconfig(), flags).await
    }

    /// Starts `usher run` with a kubeconfig of its own.
    pub async fn start_by(install: &Install, kubeconfig: PathBuf, flags: &[&str]) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        let log = install.dir().join(format!("operator-{}.log", COUNTER.fetch_add(1, Ordering::Relaxed)));
        // Whoever needs to find it again after a restart says where.
        let anywhere: &[&str] = if flags.contains(&"--scim-listen") { &[] } else { &["--scim-listen", "127.0.0.1:0"] };
        let anywhere = [anywhere, &["--page-listen", "127.0.0.1:0"]].concat();
        let arguments: Vec<_> =
            ["run", "--listen", "127.0.0.1:0"].iter().chain(&anywhere).chain(flags).map(|&argument| argument.to_owned()).collect();
        off_thread(move || Self { child: launch(&arguments, &kubeconfig, &log), arguments, kubeconfig, log }).await
    }

    /// Waits until it serves and says that it is ready. A process that ended fails the test at once.
    pub async fn ready(&self) {
        wait_until("the operator is ready", Duration::from_mins(1), async || {
            assert!(self.is_alive(), "the operator ended:\n{}", self.tail());
            let (code, body) = self.get("/readyz").await.map_err(|problem| format!("{problem}\n{}", self.tail()))?;
            if code == 200 { Ok(()) } else { Err(format!("/readyz says {code} {body}\n{}", self.tail())) }
        })
        .await;
    }

    /// Where it listens, which it says in its log.
    pub fn address(&self) -> Option<SocketAddr> {
        address_in(&self.log())
    }

    /// Where it serves SCIM, which it says in its log.
    pub fn scim(&self) -> Option<SocketAddr> {
        said_in(&self.log(), "scim")
    }

    /// Where it serves the web page, which it says in its log.
    pub fn page(&self) -> Option<SocketAddr> {
        said_in(&self.log(), "page")
    }

    /// Asks one of its pages, such as `/metrics`: status and body.
    pub async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let address = self.address().ok_or("it has not said yet where it listens")?;
        let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("half an answer")?;
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("not HTTP")?;
        Ok((code, body.to_owned()))
    }

    /// Asks it to end (SIGTERM), and says how long that took. More than half a minute is a failure.
    pub async fn terminate(&mut self) -> Duration {
        keep_metrics(&self.log);
        let since = Instant::now();
        self.signal(Signal::TERM);
        wait_until("the operator ends after SIGTERM", Duration::from_secs(30), async || {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) { Ok(()) } else { Err("it runs") }
        })
        .await;
        since.elapsed()
    }

    /// Waits until it ends by itself, and gives its exit status.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        wait_until("the operator ends by itself", deadline, async || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        keep_metrics(&self.log);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Kills it if it runs, and starts it again with the same flags and the same log. See [`Self::ready`].
    pub async fn restart(&mut self) {
        self.kill();
        let (arguments, kubeconfig, log) = (self.arguments.clone(), self.kubeconfig.clone(), self.log.clone());
        self.child = off_thread(move || launch(&arguments, &kubeconfig, &log)).await;
    }

    /// Sends it a signal: STOP and CONT make a replica that hangs.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its process, as /proc calls it.
    pub fn process(&self) -> i32 {
        self.pid().as_raw_nonzero().get()
    }

    /// Everything that it has said since its first start.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Something that prints the end of the log if the test fails while it is held.
    pub fn log_on_failure(&self) -> LogOnFailure {
        LogOnFailure(self.log.clone())
    }

    /// Whether its process runs.
    pub fn is_alive(&self) -> bool {
        // A zombie is not: its state follows the command's name, which ends with the last parenthesis.
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        match status {
            Ok(status) => status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')),
            // Without /proc, signal 0 has to do.
            Err(_) => !Path::new("/proc/self").exists() && rustix::process::test_kill_process(self.pid()).is_ok(),
        }
    }

    fn tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("{}", self.tail());
        }
    }
}

/// Prints the end of an operator's log when dropped by a test that fails.
pub struct LogOnFailure(PathBuf);

impl Drop for LogOnFailure {
    fn drop(&mut self) {
        // An operator that many share is never stopped, and ends with this process.
        keep_metrics(&self.0);
        if std::thread::panicking() {
            println!("{}", tail(&self.0));
        }
    }
}

fn launch(arguments: &[String], kubeconfig: &Path, log: &Path) -> Child {
    let mut out = OpenOptions::new().create(true).append(true).open(log).expect("a file in the control plane's folder");
    writeln!(out, "{STARTED}").expect("space on the disk");
    let mut command = process::bound_to_us(env!("CARGO_BIN_EXE_usher"));
    command.args(arguments).env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.env("KUBECONFIG", kubeconfig).env("USHER_NAMESPACE", NAMESPACE).env("USHER_LOG_FORMAT", "json").env("RUST_BACKTRACE", "1");
    if evidence::file("", "").is_some() {
        // It is searched for secrets, and the demo's operator says what the libraries say, too.
        command.env("USHER_LOG", "info,usher=trace");
    }
    let err = out.try_clone().expect("a file handle");
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    process::spawn(command).unwrap_or_else(|error| panic!("cannot start usher: {error}"))
}

fn address_in(log: &str) -> Option<SocketAddr> {
    said_in(log, "address")
}

/// An address that the operator said since its last start.
fn said_in(log: &str, name: &str) -> Option<SocketAddr> {
    // What an earlier start said may be somebody else's address by now.
    let since = log.rsplit(STARTED).next()?;
    let mut lines = since.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find_map(|line| field(&line, name)?.parse().ok())
}

/// Leaves beside an operator's log what a scrape reads, for `hack/no-secrets`. One that hangs or has ended has nothing to tell.
fn keep_metrics(log: &Path) {
    if evidence::file("", "").is_none() {
        return;
    }
    let Some(address) = std::fs::read_to_string(log).ok().as_deref().and_then(address_in) else { return };
    let scrape = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut told = String::new();
        std::io::Read::read_to_string(&mut stream, &mut told)?;
        Ok(told)
    };
    if let Ok(told) = scrape() {
        std::fs::write(log.with_extension("metrics"), told).expect("space on the disk");
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n");
    format!("---- the end of {} (USHER_TEST_DIR=DIR keeps it) ----\n{last}", log.display())
}

/// A field of a line of JSON as tracing writes it, flattened or not.
fn field<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    line.pointer(&format!("/fields/{name}")).or_else(|| line.get(name))?.as_str()
}
