//! The scripts in `hack/` that run servers: they say `ready DIR`, write `DIR/env`, and end everything when their standard input is closed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::process;

/// Building servers takes a quarter of an hour on a slow machine, and the script shows how far it is.
const PATIENCE: Duration = Duration::from_mins(40);

/// A script whose servers run. Dropping it ends them; so does the end of this process, however that comes.
pub struct Script {
    child: Child,
    talk: Mutex<Talk>,
    dir: PathBuf,
    env: BTreeMap<String, String>,
}

/// Both ends of a conversation: one order at a time.
struct Talk {
    /// Held open: when it closes the script ends everything.
    stdin: Option<ChildStdin>,
    said: mpsc::Receiver<String>,
}

impl Script {
    /// Runs `command` until it says that all is ready. What it complains of is passed on as it comes, but for lines that begin with `dull`.
    pub fn start(mut command: Command, dull: &str) -> Result<Self, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = format!("{}", command.get_program().display());
        let mut child = process::spawn(command).map_err(|error| format!("cannot run {shown}: {error}"))?;
        let stdin = child.stdin.take();
        let complaints = collect(child.stderr.take().expect("a pipe"), dull.to_owned());
        let said = listen(child.stdout.take().expect("a pipe"));
        let line = said.recv_timeout(PATIENCE).unwrap_or_default();
        let Some(dir) = line.strip_prefix("ready ").map(PathBuf::from) else {
            drop(stdin);
            let _ = child.wait();
            return Err(complaints.lock().expect("not poisoned").join("\n"));
        };
        let env = read_env(&dir.join("env"))?;
        Ok(Self { child, talk: Mutex::new(Talk { stdin, said }), dir, env })
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A variable of its `env` file, if it says that.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives it an order, and waits until it says `answer`.
    pub fn order(&self, order: &str, answer: &str) {
        let mut talk = self.talk.lock().expect("not poisoned");
        let stdin = talk.stdin.as_mut().expect("held until the end");
        writeln!(stdin, "{order}").and_then(|()| stdin.flush()).expect("the script listens");
        let line = talk.said.recv_timeout(Duration::from_mins(5)).unwrap_or_default();
        assert!(line.starts_with(answer), "after {order} the script in {} says {line:?}", self.dir.display());
    }

    /// Gives it an order that starts servers anew, and waits until they are ready.
    pub fn restart(&mut self, order: &str) {
        self.order(order, "ready ");
        self.env = read_env(&self.dir.join("env")).unwrap_or_else(|problem| panic!("{problem}"));
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // A test that failed in the middle of an order has poisoned this, and its servers end all the same.
        let talk = self.talk.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(talk.stdin.take());
        let since = Instant::now();
        // The script itself gives its servers less time than this.
        while since.elapsed() < Duration::from_secs(20) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The checkout that is tested.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `hack/NAME run`. Without a folder of ours the script takes a temporary one, and removes it even if this process is killed; `USHER_TEST_DIR` keeps it.
pub fn run(name: &str, label: &str) -> Command {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    let mut command = Command::new(repository().join("hack").join(name));
    command.arg("run");
    if let Some(kept) = std::env::var_os("USHER_TEST_DIR") {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        command.arg("--dir").arg(Path::new(&kept).join(format!("{}{label}-{number}", std::process::id())));
    }
    command
}

/// Runs what blocks without holding up the test's runtime.
pub async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn listen(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, said) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    said
}

/// Keeps what the script complains of, and passes on at once what somebody who waits wants to know: that servers are being built, and how far that is.
fn collect(stderr: ChildStderr, dull: String) -> Arc<Mutex<Vec<String>>> {
    let said = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&said);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if !line.starts_with(&dull) {
                let _ = writeln!(std::io::stderr(), "{line}");
            }
            lines.lock().expect("not poisoned").push(line);
        }
    });
    said
}

/// Reads the `NAME=value` lines that the script writes; it quotes for a shell, which takes only backslashes here.
fn read_env(file: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.replace('\\', ""))).collect())
}
