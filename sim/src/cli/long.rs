//! What commands that take long have in common: all cores, a bar, and an end by Ctrl-C that is
//! followed by a summary of what was done.
#![allow(clippy::disallowed_methods)] // the shell of the simulator: threads and a bar

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Whether the work is to end, and whether a person asked for that.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
}

impl Ending {
    /// From now on Ctrl-C ends the work. Once in a process.
    pub(super) fn by_ctrl_c() -> Result<Ending, String> {
        let ending = Ending::default();
        let of_handler = ending.clone();
        ctrlc::set_handler(move || {
            of_handler.asked.store(true, Ordering::Relaxed);
            of_handler.stop();
        })
        .map_err(|e| format!("catching Ctrl-C failed: {e}"))?;
        Ok(ending)
    }

    /// Ends the work.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether Ctrl-C ended it.
    pub(super) fn was_asked_for(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// How many threads work: as many as asked for, or as there are cores.
pub(super) fn threads(asked: Option<usize>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    asked.unwrap_or(cores).max(1)
}

/// A bar on the terminal, if there is one, and a person looks.
pub(super) fn bar(length: Option<u64>, template: &str, for_machines: bool) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let shown = std::io::stderr().is_terminal() && !for_machines;
    bar.set_draw_target(match shown {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    });
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
