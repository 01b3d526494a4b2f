//! Where exported lines go. A thread of its own writes them, as a pipe may be full and a disk slow: nothing else ever waits for it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tokio::sync::oneshot;

/// Where to export to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    Off,
    /// Standard output, where no log line goes.
    Stdout,
    /// A file, which is appended to.
    File(PathBuf),
}

type Batch = (String, oneshot::Sender<io::Result<()>>);

/// Writes whole lines, one batch after another.
#[derive(Debug)]
pub struct Sink(SyncSender<Batch>);

impl Sink {
    /// Starts the thread. It ends with the process at the latest, even if a write hangs.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn start(target: Target) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(1);
        std::thread::Builder::new().name("export".to_owned()).spawn(move || serve(&target, &receiver))?;
        Ok(Self(sender))
    }

    /// Writes lines, each with its end, and waits until they are safe.
    ///
    /// # Errors
    /// When they may not be: then they are to be written again.
    pub async fn write(&self, lines: String) -> io::Result<()> {
        let (answer, written) = oneshot::channel();
        let gone = || io::Error::other("the thread that writes has ended");
        self.0.try_send((lines, answer)).map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }
}

fn serve(target: &Target, batches: &Receiver<Batch>) {
    let mut whole = true;
    for (lines, answer) in batches {
        let outcome = match target {
            Target::Off => Ok(()),
            Target::Stdout => to_stdout(&lines, whole),
            Target::File(path) => append(path, &lines),
        };
        whole = outcome.is_ok();
        // Nobody waits any more where the replica stopped.
        let _ = answer.send(outcome);
    }
}

/// `whole`: the last batch was written to its end; if it was not, what is left of it becomes a line of its own.
fn to_stdout(lines: &str, whole: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !whole {
        out.write_all(b"\n")?;
    }
    out.write_all(lines.as_bytes())?;
    out.flush()
}

/// Opened each time, so that a file that was moved away is begun anew.
fn append(path: &Path, lines: &str) -> io::Result<()> {
    let regular = std::fs::metadata(path).map_or(true, |found| found.is_file());
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(regular).read(regular).open(path)?;
    if regular && cut_off(&mut file)? {
        file.write_all(b"\n")?;
    }
    file.write_all(lines.as_bytes())?;
    if regular { file.sync_data() } else { file.flush() }
}

/// Whether a file ends within a line, as when the disk was full or the power went.
fn cut_off(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("grants.jsonl");
        append(&path, "{1}\n").expect("a new file");
        std::fs::write(&path, "{1}\n{2").expect("cut off");
        append(&path, "{2}\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "{1}\n{2\n{2}\n");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let error = append(Path::new("/dev/full"), "{1}\n").expect_err("there is no space");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[tokio::test]
    async fn what_is_written_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("grants.jsonl");
        let sink = Sink::start(Target::File(path.clone())).expect("a thread");
        for line in ["{1}\n", "{2}\n"] {
            sink.write(line.to_owned()).await.expect("written");
        }
        assert_eq!(std::fs::read_to_string(&path).expect("text"), "{1}\n{2}\n");
    }
}
