//! Somebody's own program, tested on the simulated disk.
//!
//! `cargo run -p runstone-sim --example own_program`
//!
//! The program keeps a counter in a file. Its first version replaces the file in the usual way,
//! write to a temporary file and rename, and forgets two syncs. The test needs nothing of the
//! engine: it runs the program on a [`SimVfs`], cuts the power before, inside and after each
//! call in turn, starts again, and asks what a user would ask: is what I was told there?

use std::io;
use std::path::Path;

use runstone_sim::disk::{CrashKind, CrashPoint, SimVfs, When, is_simulated_crash};
use runstone_vfs::{Access, Vfs, read_full_at, write_all_at};

/// How many times the counter is raised in a trial.
const RAISES: u64 = 4;
/// How many seeds each crash point is tried with.
const SEEDS: u64 = 40;

/// The program under test, in both versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    /// As it is often written.
    Careless,
    /// The recipe in the head of the crate `runstone-vfs`.
    Careful,
}

impl Program {
    /// Stores the counter. Returning Ok is the promise that it is kept.
    fn store(self, vfs: &dyn Vfs, value: u64) -> io::Result<()> {
        let (temporary, target) = (Path::new("/counter.tmp"), Path::new("/counter"));
        match vfs.remove(temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = vfs.create(temporary)?;
        write_all_at(&*file, &value.to_le_bytes(), 0)?;
        if self == Program::Careful {
            file.sync()?; // the content, before it gets the name that counts
        }
        vfs.rename(temporary, target)?;
        if self == Program::Careful {
            vfs.sync_dir(Path::new("/"))?; // the name
        }
        Ok(())
    }

    /// Reads the counter; 0 if there is none.
    fn load(vfs: &dyn Vfs) -> Result<u64, String> {
        let file = match vfs.open(Path::new("/counter"), Access::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(e) => return Err(e.to_string()),
        };
        let mut bytes = [0; 8];
        let read = read_full_at(&*file, &mut bytes, 0).map_err(|e| e.to_string())?;
        if read < bytes.len() {
            return Err(format!("the file has {read} bytes"));
        }
        Ok(u64::from_le_bytes(bytes))
    }
}

/// What a trial has shown.
struct Loss {
    seed: u64,
    point: CrashPoint,
    text: String,
}

/// One trial: run, crash, restart, look. `Ok(false)` if the run ended before the crash point.
fn trial(program: Program, seed: u64, point: CrashPoint) -> Result<bool, Loss> {
    let disk = SimVfs::new(seed);
    disk.keep_trace(20);
    disk.arm_crash(point, CrashKind::Power);
    let mut acknowledged = 0;
    for value in 1..=RAISES {
        match program.store(&disk, value) {
            Ok(()) => acknowledged = value,
            Err(e) if is_simulated_crash(&e) => break,
            Err(e) => unreachable!("nothing else fails here: {e}"),
        }
    }
    let crashed = disk.is_crashed();
    disk.crash_now(CrashKind::Power);
    disk.restart();
    // The one store that was under way may have happened or not.
    let problem = match Program::load(&disk) {
        Ok(found) if found == acknowledged || found == acknowledged + 1 => return Ok(crashed),
        Ok(found) => format!("acknowledged {acknowledged}, found {found}"),
        Err(problem) => format!("acknowledged {acknowledged}, but {problem}"),
    };
    let report = disk.crash_report().map(|report| report.to_string()).unwrap_or_default();
    let text = format!("{problem}\n{report}calls:\n  {}", disk.trace().join("\n  "));
    Err(Loss { seed, point, text })
}

/// Every crash point, with many seeds; the first loss, or the number of trials.
fn search(program: Program) -> Result<u64, Loss> {
    let mut trials = 0;
    for call in 0.. {
        let mut reached = false;
        for when in [When::Before, When::Inside, When::After] {
            for seed in 0..SEEDS {
                reached |= trial(program, seed, CrashPoint { call, when })?;
                trials += 1;
            }
        }
        if !reached {
            break;
        }
    }
    Ok(trials)
}

fn main() {
    match search(Program::Careless) {
        Ok(trials) => unreachable!("{trials} trials, and no loss was found"),
        Err(Loss { seed, point, text }) => {
            println!(
                "the careless program: seed {seed}, crash {:?} call {}",
                point.when, point.call
            );
            println!("{text}\n");
            // The same seed and point show the same loss again: that is a regression test.
            let again = trial(Program::Careless, seed, point);
            assert!(again.is_err_and(|loss| loss.text == text), "a seed repeats its loss");
        }
    }
    match search(Program::Careful) {
        Ok(trials) => println!("the careful program: {trials} trials, nothing lost"),
        Err(loss) => unreachable!("seed {}: {}", loss.seed, loss.text),
    }
}
