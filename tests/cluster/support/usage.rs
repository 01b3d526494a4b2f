//! What a process uses, as Linux counts it (`man 5 proc`).

/// The unit of times in /proc, the same on every architecture (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// The processor time of a process so far, in seconds.
pub fn cpu_seconds(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The command's name may contain anything, and ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = |number: usize| fields.get(number).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// The most memory that a process has had since it started, in MiB, its program included.
#[track_caller]
pub fn peak_mib(pid: i32) -> f64 {
    status(pid, "VmHWM") / 1_024.0
}

/// The memory that a process has now for what it works with, in MiB. Its program, which is several times as large in tests as in a release, is not counted.
#[track_caller]
pub fn own_mib(pid: i32) -> f64 {
    status(pid, "RssAnon") / 1_024.0
}

/// The most memory of [`own_mib`] that a process has had since it started. Linux counts the most of everything only: what is in memory of the program now was
/// read from its file bit by bit, and is taken off.
#[track_caller]
pub fn own_peak_mib(pid: i32) -> f64 {
    (status(pid, "VmHWM") - status(pid, "RssFile")) / 1_024.0
}

/// How many threads a process has.
#[track_caller]
pub fn threads(pid: i32) -> f64 {
    status(pid, "Threads")
}

/// How many files, sockets and the like a process has open.
#[track_caller]
pub fn open_files(pid: i32) -> f64 {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap_or_else(|error| panic!("/proc/{pid}/fd: {error}"));
    open.fold(0.0, |count, _| count + 1.0)
}

/// Whether a process runs: it exists and is not a zombie.
pub fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A number that a process's status has; memory is in KiB.
#[track_caller]
fn status(pid: i32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_else(|error| panic!("/proc/{pid}/status: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {field} in\n{status}"))
}
