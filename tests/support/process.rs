//! Starting processes that end with this one, whatever becomes of it.

use std::ffi::OsStr;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, mpsc};

type Job = Box<dyn FnOnce() + Send>;

/// A thread that lives as long as the process. The kernel's parent-death signal speaks of the *thread* that started a child, and libtest ends a thread after
/// each test.
static SPAWNER: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
    let (sender, jobs) = mpsc::channel::<Job>();
    std::thread::Builder::new().name("spawner".to_owned()).spawn(move || jobs.into_iter().for_each(|job| job())).expect("a thread");
    Mutex::new(sender)
});

/// Starts `command` from the thread that lasts.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    let (sender, result) = mpsc::channel();
    let job: Job = Box::new(move || {
        let _ = sender.send(command.spawn());
    });
    SPAWNER.lock().expect("not poisoned").send(job).expect("the thread lasts");
    result.recv().expect("every job is done")
}

/// A command that is killed when this process ends, where the system has a way to say so (Linux: util-linux' setpriv).
pub fn bound_to_us(program: impl AsRef<OsStr>) -> Command {
    static SETPRIV: LazyLock<bool> = LazyLock::new(|| {
        let mut probe = Command::new("setpriv");
        probe.args(["--pdeathsig", "KILL", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    if !*SETPRIV {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
