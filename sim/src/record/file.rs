//! An open file, and a held lock, of a [`Recorder`].
//!
//! Invariant: what a handle of before a crash is asked is passed on, and not noted.

use std::fmt::Debug;
use std::io::{self, IoSlice};

use runstone_vfs::{FileId, HoldsFile, VfsFile, VfsLock};

use super::{Recorder, Secret, is_refusal};
use crate::legal::{Event, Ino, Synced};

/// An open file of a [`Recorder`].
#[derive(Debug)]
pub(super) struct RecordedFile<F> {
    recorder: Recorder,
    inner: F,
    ino: Ino,
    life: u64,
}

impl<F> RecordedFile<F> {
    pub(super) fn new(recorder: Recorder, inner: F, ino: Ino, life: u64) -> Self {
        RecordedFile { recorder, inner, ino, life }
    }

    fn call<T>(
        &self,
        intent: Event,
        call: impl FnOnce() -> io::Result<T>,
        effects: impl FnOnce(&io::Result<T>) -> Vec<Event>,
    ) -> io::Result<T> {
        let is_alive = self.life == self.recorder.sink.life();
        self.recorder.call(is_alive.then_some(intent), call, effects)
    }

    fn write(
        &self,
        bytes: Vec<u8>,
        pos: u64,
        call: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let ino = self.ino;
        let intent = Event::Write { ino, pos, bytes: bytes.clone(), sure: true };
        self.call(intent, call, |result| {
            let witness = &self.recorder.witness;
            let (count, sure) = match result {
                Ok(count) => (*count, true),
                Err(error) if is_refusal(error) => (0, true),
                Err(_) => match witness.content(ino) {
                    Some(content) => {
                        let there = usize::try_from(pos).ok().and_then(|pos| content.get(pos..));
                        let there = there.unwrap_or_default();
                        (bytes.iter().zip(there).take_while(|(a, b)| a == b).count(), false)
                    }
                    None => (bytes.len(), false),
                },
            };
            let bytes = bytes.get(..count).unwrap_or_default().to_vec();
            let mut events = vec![Event::Write { ino, pos, bytes, sure }];
            if witness.secret() == Some(Secret::WritebackFailed) {
                events.push(Event::WritebackFailed { ino });
            }
            events
        })
    }

    fn resize(&self, event: Event, call: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        self.call(event.clone(), call, |result| match result {
            Ok(()) => vec![event],
            Err(error) if is_refusal(error) => vec![],
            Err(_) => vec![match event {
                Event::SetLen { ino, len, .. } => Event::SetLen { ino, len, sure: false },
                Event::Allocate { ino, end, .. } => Event::Allocate { ino, end, sure: false },
                event => event,
            }],
        })
    }
}

impl<F: HoldsFile> VfsFile for RecordedFile<F> {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.inner.file().read_at(buf, pos)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<usize> {
        self.write(buf.to_vec(), pos, || self.inner.file().write_at(buf, pos))
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], pos: u64) -> io::Result<usize> {
        let bytes = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.write(bytes, pos, || self.inner.file().write_vectored_at(bufs, pos))
    }

    fn sync(&self) -> io::Result<()> {
        let event = |outcome| Event::Sync { ino: self.ino, outcome };
        self.call(
            event(Synced::Failed),
            || self.inner.file().sync(),
            |result| vec![event(self.recorder.outcome(result))],
        )
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let event = Event::SetLen { ino: self.ino, len, sure: true };
        self.resize(event, || self.inner.file().set_len(len))
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        // A length of 0 changes nothing.
        let end = if len == 0 { 0 } else { pos.saturating_add(len) };
        let event = Event::Allocate { ino: self.ino, end, sure: true };
        self.resize(event, || self.inner.file().allocate(pos, len))
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.file().len()
    }

    fn id(&self) -> io::Result<FileId> {
        self.inner.file().id()
    }
}

/// A held lock of a [`Recorder`].
#[derive(Debug)]
pub(super) struct RecordedLock {
    file: RecordedFile<Box<dyn VfsLock>>,
}

impl RecordedLock {
    pub(super) fn new(recorder: Recorder, inner: Box<dyn VfsLock>, ino: Ino, life: u64) -> Self {
        RecordedLock { file: RecordedFile::new(recorder, inner, ino, life) }
    }
}

impl VfsLock for RecordedLock {
    fn file(&self) -> &dyn VfsFile {
        &self.file
    }
}
