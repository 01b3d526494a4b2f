//! Processes that hang for a while.

use rustix::process::{Pid, Signal, kill_process};

/// A process that hangs (SIGSTOP), until this is dropped.
pub struct Paused(Pid);

impl Paused {
    /// From now on it does nothing, and its connections stay.
    pub fn new(process: Pid) -> Self {
        kill_process(process, Signal::STOP).expect("it runs");
        Self(process)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}
