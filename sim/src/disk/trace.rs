//! The trace of calls: a digest of every call, argument and result, and a bounded text.

use std::collections::VecDeque;
use std::io;

use super::call::CallKind;
use crate::digest::Digest;

/// One call, as the trace sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    pub(super) kind: CallKind,
    /// The path that was given, or under which the handle was opened.
    pub(super) path: &'a str,
    /// The second path, or the mode.
    pub(super) more: &'a str,
    pub(super) pos: u64,
    pub(super) len: u64,
}

/// A call that was served, for whoever wants to know which there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeenCall {
    pub(crate) kind: CallKind,
    /// The path that was given, or under which the handle was opened.
    pub(crate) path: String,
    /// Whether a fault may strike it: faults are enabled, and it is not the harness's own.
    pub(crate) may_fail: bool,
}

impl<'a> Call<'a> {
    pub(super) fn named(kind: CallKind, path: &'a str) -> Call<'a> {
        Call { kind, path, more: "", pos: 0, len: 0 }
    }
}

/// The trace.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub(super) digest: Digest,
    lines: VecDeque<String>,
    /// How many lines are kept; 0 keeps none and costs nothing.
    pub(super) lines_max: usize,
    /// The call that is served gets no line.
    pub(super) is_quiet: bool,
}

impl Trace {
    /// Feeds a call and its arguments.
    pub(super) fn call(&mut self, call: &Call<'_>) {
        self.digest.u8(call.kind.code());
        self.digest.bytes(call.path.as_bytes());
        if !call.more.is_empty() {
            self.digest.bytes(call.more.as_bytes());
        }
        self.digest.u64(call.pos);
        self.digest.u64(call.len);
    }

    /// Feeds the result, and writes the line.
    pub(super) fn result(&mut self, index: u64, call: &Call<'_>, result: Result<u64, &io::Error>) {
        match result {
            Ok(value) => {
                self.digest.u8(0);
                self.digest.u64(value);
            }
            Err(error) => self.digest.u8(error_code(error)),
        }
        if self.lines_max > 0 && !self.is_quiet {
            let outcome = match result {
                Ok(value) => format!("{value}"),
                Err(error) => format!("error: {error}"),
            };
            self.line(format!("#{index} {} -> {outcome}", call_text(call)));
        }
    }

    /// Adds a line of its own: a crash, a restart, a fault.
    pub(super) fn event(&mut self, code: u8, text: impl FnOnce() -> String) {
        self.digest.u8(code);
        if self.lines_max > 0 {
            self.line(text());
        }
    }

    fn line(&mut self, line: String) {
        while self.lines.len() >= self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Changes how many lines are kept.
    pub(super) fn keep(&mut self, lines_max: usize) {
        self.lines_max = lines_max;
        while self.lines.len() > lines_max {
            self.lines.pop_front();
        }
    }

    /// The lines that are kept, oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// `write /db/000001.log pos=0 len=64`.
fn call_text(call: &Call<'_>) -> String {
    let mut text = format!("{} {}", call.kind.name(), call.path);
    if !call.more.is_empty() {
        text.push(' ');
        text.push_str(call.more);
    }
    if matches!(call.kind, CallKind::Read | CallKind::Write | CallKind::Allocate) {
        text.push_str(&format!(" pos={} len={}", call.pos, call.len));
    } else if call.kind == CallKind::SetLen {
        text.push_str(&format!(" len={}", call.len));
    }
    text
}

/// A stable number for an error: by kind only, since messages may be reworded.
fn error_code(error: &io::Error) -> u8 {
    use io::ErrorKind as K;
    match error.kind() {
        K::NotFound => 1,
        K::PermissionDenied => 2,
        K::AlreadyExists => 3,
        K::NotADirectory => 4,
        K::IsADirectory => 5,
        K::DirectoryNotEmpty => 6,
        K::WouldBlock => 7,
        K::StorageFull => 8,
        K::QuotaExceeded => 9,
        K::Interrupted => 10,
        K::ReadOnlyFilesystem => 11,
        K::InvalidInput => 12,
        K::FileTooLarge => 13,
        K::InvalidFilename => 14,
        K::ResourceBusy => 15,
        _ => 255,
    }
}
