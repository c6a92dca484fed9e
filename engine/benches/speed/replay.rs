//! The log's size, and reading it back.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use runstone::{Database, DurabilityMode};

use super::harness::{Data, PlainMap, Report, Series, Settings, Target, Tried, open, timed};

/// The first argument of a process that [`memory`] starts.
pub(crate) const CHILD: &str = "--child";

/// The bytes before a segment's first record (engine/src/log/segment.rs).
const SEGMENT_HEADER_BYTES: usize = 72;
/// The bytes of a record before its payload (engine/src/log/record.rs).
const RECORD_HEAD_BYTES: usize = 33;
/// How much is read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Log bytes for each put, from the lengths of the files.
pub(crate) fn log_bytes(settings: &Settings) -> Tried<Report> {
    let (few, many) = (1_000, 2_000);
    let mut bytes = Series::new("log bytes of a put", Some(Target::AtMost(180.0)));
    if settings.runs_engine() {
        let lengths = [few, many].map(|count| -> Tried<u64> {
            let dir = settings.fresh_dir()?;
            fill(&dir, &Data::new(count))?;
            let mut length = 0;
            for path in segments(dir.path())? {
                length += fs::metadata(path)?.len();
            }
            Ok(length)
        });
        let [less, more] = lengths;
        bytes.push((more? - less?) as f64 / (many - few) as f64);
    }
    Ok(Report::new([bytes]))
}

/// Puts everything and closes.
fn fill(dir: &tempfile::TempDir, data: &Data) -> Tried<()> {
    let db = open(Database::builder(), dir, DurabilityMode::Async { interval_ms: 100 })?;
    for (key, value) in data.iter() {
        db.put(data.run, key, value)?;
    }
    Ok(db.close()?)
}

/// The log's segments, in order.
fn segments(dir: &Path) -> Tried<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir.join("store"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Opening after a clean close, against reading the same files, checksumming every byte and
/// inserting copies into a map.
pub(crate) fn replay(settings: &Settings) -> Tried<Report> {
    let data = Data::new(settings.count(1_000_000));
    let dir = settings.fresh_dir()?;
    fill(&dir, &data)?;
    let mut ratio =
        Series::new("rate / rate of reading, checksumming, inserting", Some(Target::AtLeast(0.6)));
    let mut rate = Series::new("puts replayed per second", None);
    for _ in 0..settings.pairs(9) {
        let (mut engine, mut baseline) = (f64::NAN, f64::NAN);
        if settings.runs_engine() {
            let (took, db) = timed(|| Ok(Database::open(dir.path().join("store"))?))?;
            engine = took.as_secs_f64();
            if db.storage().key_count() != data.keys.len() {
                return Err("replay lost a key".into());
            }
        }
        if settings.runs_baseline() {
            let (took, (map, _checksum)) = timed(|| read_back(dir.path()))?;
            baseline = took.as_secs_f64();
            if map.len() != data.keys.len() {
                return Err("the baseline lost a key".into());
            }
        }
        ratio.push(baseline / engine);
        rate.push(data.keys.len() as f64 / engine);
    }
    Ok(Report::new([ratio, rate]))
}

/// Reads, checksums and inserts; of the format it knows just enough to find keys and values.
fn read_back(dir: &Path) -> Tried<(PlainMap, u32)> {
    let mut map = PlainMap::new();
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    for path in segments(dir)? {
        let mut file = File::open(path)?;
        file.read_exact(buffer.get_mut(..SEGMENT_HEADER_BYTES).ok_or("no room")?)?;
        let mut held = 0;
        loop {
            let read = file.read(buffer.get_mut(held..).ok_or("a record beyond a chunk")?)?;
            if read == 0 {
                break;
            }
            held += read;
            let mut rest = buffer.get(..held).unwrap_or_default();
            while let Some((record, behind)) = split_record(rest) {
                hasher.update(record);
                insert(&mut map, record);
                rest = behind;
            }
            let left = rest.len();
            buffer.copy_within(held - left..held, 0);
            held = left;
        }
    }
    Ok((map, hasher.finalize()))
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let payload = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
    let length = (RECORD_HEAD_BYTES + usize::try_from(payload).ok()?).next_multiple_of(8);
    bytes.split_at_checked(length)
}

/// The payload of a put: operation, run id 16, tag, length, key 16, kind, length, value 100.
fn insert(map: &mut PlainMap, record: &[u8]) {
    if let Some([1, put @ ..]) = record.get(RECORD_HEAD_BYTES..)
        && let (Some(run), Some(key), Some(value)) =
            (put.get(..16), put.get(18..34), put.get(36..136))
    {
        map.insert([run, key].concat(), value.to_vec());
    }
}

/// How much more memory opening takes than stays resident, in MiB, each in a process of its
/// own: after a clean close, and after a kill with the most that can lie unproven.
pub(crate) fn memory(settings: &Settings) -> Tried<Report> {
    let count = settings.count(1_000_000);
    let cases = [
        (
            "clean",
            "peak - resident afterwards, MiB, after a close",
            "peak - accounted, MiB, after a close",
        ),
        (
            "killed",
            "peak - resident afterwards, MiB, after a kill",
            "peak - accounted, MiB, after a kill",
        ),
    ];
    let mut report = Vec::new();
    for (case, resident, accounted) in cases {
        let dir = settings.fresh_dir()?;
        run_child(&["fill", case, &count.to_string(), &dir.path().to_string_lossy()])?;
        let found = run_child(&["open", &dir.path().to_string_lossy()])?;
        let numbers: Vec<f64> =
            found.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        for (what, value) in [resident, accounted].into_iter().zip(numbers) {
            let mut series = Series::new(what, Some(Target::AtMost(64.0)));
            series.push(value);
            report.push(series);
        }
    }
    Ok(Report::new(report))
}

fn run_child(arguments: &[&str]) -> Tried<String> {
    let output = Command::new(std::env::current_exe()?).arg(CHILD).args(arguments).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What a process that [`memory`] started does.
pub(crate) fn child(arguments: &[String]) -> Tried<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["fill", case, count, dir] => {
            // Nothing is synced before the segment ends, so all of it is unproven.
            let interval_ms = if *case == "clean" { 100 } else { 3_600_000 };
            let store = Path::new(dir).join("store");
            let db = Database::open_with_mode(store, DurabilityMode::Async { interval_ms })?;
            let data = Data::new(count.parse()?);
            db.begin_run(data.run, [("", ""); 0])?;
            for (key, value) in data.iter() {
                db.put(data.run, key, value)?;
            }
            if *case == "clean" {
                return Ok(db.close()?);
            }
            std::process::exit(0)
        }
        ["open", dir] => {
            let before = status_kib("VmRSS:")?;
            let db = Database::open(Path::new(dir).join("store"))?;
            let peak = status_kib("VmHWM:")?;
            let resident = status_kib("VmRSS:")?;
            let accounted = before + (db.storage().memory_bytes() >> 10) as f64;
            println!("{} {}", (peak - resident) / 1024.0, (peak - accounted) / 1024.0);
            Ok(())
        }
        other => Err(format!("no child does {other:?}").into()),
    }
}

/// A line of what the kernel knows of this process.
fn status_kib(name: &str) -> Tried<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}
