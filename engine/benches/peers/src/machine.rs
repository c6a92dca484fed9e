//! What the kernel says of this process, of a directory, and of the machine.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::{Advice, fadvise};

/// Counts of `/proc/self/io`, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Io {
    /// What was fetched from a device.
    pub read: u64,
    /// What was dirtied, and so has to go to a device, less what was truncated before it went.
    /// Where the kernel caches a file in large folios, a small write counts its whole folio.
    pub written: u64,
}

/// What was written to the device that holds a directory since it was started, by all processes
/// together: the check of [`Io::written`] on a machine that is otherwise idle.
pub fn device_written(dir: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    const SECTOR_BYTES: u64 = 512;
    let device = fs::metadata(dir).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * SECTOR_BYTES)
}

impl Io {
    /// The counts so far, of all threads.
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/self/io").context("reading /proc/self/io")?;
        let field = |name| number_after(&text, name).unwrap_or(0);
        let written = field("\nwrite_bytes:").saturating_sub(field("cancelled_write_bytes:"));
        Ok(Io { read: field("read_bytes:"), written })
    }

    /// What was added since.
    pub fn since(self, before: Io) -> Io {
        Io {
            read: self.read.saturating_sub(before.read),
            written: self.written.saturating_sub(before.written),
        }
    }
}

/// How long an engine may go on in the background after a load, and how long it does nothing when
/// it is at rest.
const REST_MAX: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_secs(2);

/// Waits until no thread of this process does anything: what an engine does in the background after
/// a load is no part of what is measured then. Not for ever: an engine may have no rest.
pub fn come_to_rest() -> Result<()> {
    let begin = Instant::now();
    let mut before = ticks()?;
    while begin.elapsed() < REST_MAX {
        thread::sleep(REST);
        let now = ticks()?;
        // A tick is a hundredth of a second.
        if now - before <= 3 {
            return Ok(());
        }
        before = now;
    }
    Ok(())
}

/// The processor's time that this process has taken, in ticks.
fn ticks() -> Result<u64> {
    let stat = fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
    // Behind the name, which may hold anything: the state is the first, user and system time the
    // 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).map(|field| Ok(field.parse::<u64>()?)).sum()
}

/// A line of `/proc/self/status`, in bytes.
pub fn status_bytes(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    Ok(number_after(&text, name).unwrap_or(0) * 1024)
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let at = text.find(name)? + name.len();
    text[at..].split_whitespace().next()?.parse().ok()
}

/// The room of a directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room {
    /// The lengths of the files.
    pub length: u64,
    /// The blocks that they have on the disk: less where a file is sparse.
    pub blocks: u64,
}

/// What all files below a directory take.
pub fn room(dir: &Path) -> Result<Room> {
    use std::os::unix::fs::MetadataExt;
    let mut room = Room::default();
    for_each_file(dir, &mut |path| {
        // A background thread may remove a file while this walks.
        if let Ok(metadata) = fs::metadata(path) {
            room.length += metadata.len();
            room.blocks += metadata.blocks() * 512;
        }
        Ok(())
    })?;
    Ok(room)
}

/// Asks the kernel to forget what it caches of the files below a directory. Only clean pages go:
/// call it when everything is synced.
pub fn drop_cached(dir: &Path) -> Result<()> {
    for_each_file(dir, &mut |path| {
        let file = fs::File::open(path)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(())
    })
}

fn for_each_file(dir: &Path, each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => for_each_file(&entry.path(), each)?,
            kind if kind.is_file() => each(&entry.path())?,
            _ => {}
        }
    }
    Ok(())
}

/// Puts this process into a cgroup that the caller made.
pub fn join_cgroup(cgroup: &Path) -> Result<()> {
    let procs = cgroup.join("cgroup.procs");
    fs::write(&procs, std::process::id().to_string())
        .with_context(|| format!("joining {}", procs.display()))
}

/// The machine, in a few lines for the report: kernel, processor, cores, memory, file system.
pub fn describe(dir: &Path) -> Vec<(String, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu_info = read("/proc/cpuinfo");
    let cpu = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = number_after(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) / 1024;
    let load = read("/proc/loadavg");
    let profile = if cfg!(debug_assertions) {
        "debug: these figures mean nothing"
    } else {
        "release, thin LTO, one codegen unit"
    };
    [
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("processor", format!("{}, {cores} cores", cpu.trim_start_matches([' ', '\t', ':']))),
        ("memory", format!("{memory} MiB")),
        ("file system", file_system(dir).unwrap_or_else(|| "?".to_owned())),
        ("load average at the start", load.split(' ').next().unwrap_or("?").to_owned()),
        ("build", profile.to_owned()),
        ("commit of Runstone", commit().unwrap_or_else(|| "?".to_owned())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// The commit of the sources that this was built from, if they are still there.
fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]);
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The type of the file system that holds a directory: that of the longest mount point above it.
fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let above = mounts.filter(|(point, _)| dir.starts_with(point));
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "wchar: 1\nread_bytes: 5\nwrite_bytes: 7\ncancelled_write_bytes: 3\n";
        assert_eq!(number_after(text, "\nwrite_bytes:"), Some(7));
        assert_eq!(number_after(text, "cancelled_write_bytes:"), Some(3));
        assert_eq!(number_after("VmHWM:\t   12 kB\n", "VmHWM:"), Some(12));
        assert_eq!(number_after(text, "missing:"), None);
    }

    #[test]
    fn room_counts_files_below_and_knows_sparse_ones() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("deep/full"), [1; 10_000]).unwrap();
        fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 20).unwrap();
        let room = room(dir.path()).unwrap();
        assert_eq!(room.length, 10_000 + (1 << 20));
        assert!(room.blocks < 1 << 20, "{room:?}");
    }

    #[test]
    fn joining_a_cgroup_writes_the_own_id() {
        let dir = tempfile::tempdir().unwrap();
        join_cgroup(dir.path()).unwrap();
        let written = fs::read_to_string(dir.path().join("cgroup.procs")).unwrap();
        assert_eq!(written, std::process::id().to_string());
    }
}
