//! What calls on an open file do to the disk, faults of reads, writes and syncs included.

use std::io;

use runstone_vfs::check_range;

use super::faults::{Fault, SyncFlavour, io_error};
use super::inode::{FileNode, SECTOR, at, sectors};
use super::kind::FaultKind;
use super::state::{Disk, Outcome, fail};

impl Disk {
    pub(super) fn read(
        &mut self,
        node: u64,
        buf: &mut [u8],
        pos: u64,
        fault: Option<Fault>,
    ) -> Outcome<usize> {
        check_range(pos, buf.len() as u64)?;
        let want = (self.tree.file(node)?.len().saturating_sub(pos)).min(buf.len() as u64);
        let mut n = want;
        if let Some(fault) = fault {
            match fault.kind {
                FaultKind::Short => n = fault.share(want, want.min(1), want),
                FaultKind::BadSectorForever if want > 0 => {
                    let touched = sectors(pos, want);
                    let count = touched.end - touched.start;
                    let bad = touched.start + fault.share(count, 0, count - 1);
                    self.bad_sectors.insert((node, bad));
                }
                _ => return Err(fault.error()),
            }
        }
        let range = sectors(pos, n);
        let mut bad =
            self.bad_sectors.range((node, range.start)..(node, range.end.max(range.start)));
        if bad.next().is_some() && !self.is_undisturbed {
            self.count("read_of_bad_sector", 1);
            return Err(io_error());
        }
        self.maybe_evict(node)?;
        let n = at(n);
        let n = self.tree.file(node)?.read(&mut buf[..n], pos);
        self.trace.digest.bytes(&buf[..n]);
        Ok((n, n as u64))
    }

    /// Memory pressure drops doomed pages (rule F1).
    fn maybe_evict(&mut self, node: u64) -> io::Result<()> {
        let Disk { tree, config, rng, .. } = self;
        let file = tree.file_mut(node)?;
        if file.ops.iter().all(|op| !op.doomed) || !config.evict_doomed.hit(rng) {
            return Ok(());
        }
        let mut evicted = 0;
        for sector in file.doomed_sectors() {
            if rng.coin() {
                file.evict(sector, rng.chance(1, 4));
                evicted += 1;
            }
        }
        self.count("sector_evicted", evicted);
        Ok(())
    }

    pub(super) fn write(
        &mut self,
        node: u64,
        bytes: Vec<u8>,
        pos: u64,
        fault: Option<Fault>,
    ) -> Outcome<usize> {
        let len = bytes.len() as u64;
        self.trace.digest.bytes(&bytes);
        check_range(pos, len)?;
        // Zeros behind a gap, and what goes on with them; not the last bytes of a padding record.
        let is_ahead = pos > self.tree.file(node)?.len() || self.zeros_to == Some((node, pos));
        self.writes_zeros = is_ahead && bytes.iter().all(|byte| *byte == 0);
        self.zeros_to = None;
        if pos + len > self.config.file_bytes_max && len > 0 {
            return self.ended_by_a_signal();
        }
        let (n, error) = match fault.map(|fault| (fault.kind, fault)) {
            Some((FaultKind::Interrupted, fault)) => return Err(fault.error()),
            Some((FaultKind::Short, fault)) => (fault.share(len, len.min(1), len), None),
            Some((kind, fault)) if kind.is_full_disk() => {
                (fault.share(len, 0, len.saturating_sub(1)), Some(fault.error()))
            }
            Some((FaultKind::Io, fault)) => (fault.share(len, 0, len), Some(fault.error())),
            _ => (len, None),
        };
        let room = self.room_to(node, pos + n)?.saturating_sub(pos).min(n);
        if room == 0 && n > 0 {
            return fail(io::ErrorKind::StorageFull);
        }
        self.put(node, bytes, pos, room)?;
        self.zeros_to = self.writes_zeros.then_some((node, pos + room));
        if fault.is_some_and(|fault| fault.kind == FaultKind::BackgroundFails) {
            let now = self.seq;
            let file = self.tree.file_mut(node)?;
            file.doom_from(0);
            file.unreported = Some(now);
            self.count("background_failed", 1);
        }
        match error {
            Some(error) => Err(error),
            None => Ok((at(room), room)),
        }
    }

    /// Puts the first `n` bytes into the file; then, perhaps, background writeback.
    fn put(&mut self, node: u64, mut bytes: Vec<u8>, pos: u64, n: u64) -> io::Result<()> {
        if n == 0 {
            return Ok(());
        }
        bytes.truncate(at(n));
        let seq = self.next_seq();
        let Disk { tree, config, rng, bad_sectors, .. } = self;
        let file = tree.file_mut(node)?;
        file.write(seq, pos, bytes);
        if !bad_sectors.is_empty() {
            // A device gives a sector that is written whole a new place.
            for sector in pos.div_ceil(SECTOR)..(pos + n) / SECTOR {
                bad_sectors.remove(&(node, sector));
            }
        }
        if config.early_writeback.hit(rng) {
            for sector in sectors(pos, n) {
                if rng.coin() {
                    file.flushed.insert(sector, seq);
                }
            }
            if rng.coin() {
                file.size_flushed = seq;
            }
            self.count("early_writeback", 1);
        } else if config.early_flush.hit(rng) {
            file.writeback(config.sector_history);
            self.count("early_flush", 1);
        }
        Ok(())
    }

    /// The end that the file may grow to, at most `end` or its size, on a disk that may be
    /// full.
    fn room_to(&self, node: u64, end: u64) -> io::Result<u64> {
        let len = self.tree.file(node)?.len();
        match self.config.capacity {
            Some(capacity) if end > len => {
                Ok(end.min(len + capacity.saturating_sub(self.used_bytes())))
            }
            _ => Ok(end.max(len)),
        }
    }

    /// Whether no byte more fits.
    pub(super) fn is_full(&self) -> bool {
        self.config.capacity.is_some_and(|capacity| self.used_bytes() >= capacity)
    }

    /// A call beyond the largest size of a file: an error here, and the end of most processes.
    fn ended_by_a_signal<T>(&mut self) -> Outcome<T> {
        self.count("ended_by_a_signal", 1);
        fail(io::ErrorKind::FileTooLarge)
    }

    /// The bytes of all files that have a name or a handle.
    pub(super) fn used_bytes(&self) -> u64 {
        let held = self.tree.nodes.values().filter(|node| node.links > 0 || node.opens > 0);
        held.filter_map(|node| node.file()).map(FileNode::len).sum()
    }

    pub(super) fn set_len(&mut self, node: u64, len: u64) -> Outcome<()> {
        check_range(0, len)?;
        if len > self.config.file_bytes_max {
            return self.ended_by_a_signal();
        }
        let is_cut = len < self.tree.file(node)?.len();
        if is_cut && self.config.cut_needs_room && self.is_full() {
            return fail(io::ErrorKind::StorageFull);
        }
        let seq = self.next_seq();
        // No room is needed: what an extension adds is a hole.
        self.tree.file_mut(node)?.resize(seq, len);
        Ok(((), len))
    }

    pub(super) fn allocate(&mut self, node: u64, pos: u64, len: u64) -> Outcome<()> {
        if self.config.no_preallocation {
            return fail(io::ErrorKind::Unsupported);
        }
        check_range(pos, len)?;
        if len == 0 {
            return Ok(((), 0));
        }
        let end = pos + len;
        if end > self.config.file_bytes_max {
            return self.ended_by_a_signal();
        }
        if self.room_to(node, end)? < end {
            return fail(io::ErrorKind::StorageFull);
        }
        let seq = self.next_seq();
        self.tree.file_mut(node)?.allocate(seq, end);
        Ok(((), end))
    }

    pub(super) fn len(&mut self, node: u64) -> Outcome<u64> {
        let len = self.tree.file(node)?.len();
        Ok((len, len))
    }

    /// A sync of a file by a handle that was opened after change number `opened`.
    pub(super) fn sync(&mut self, node: u64, opened: u64, fault: Option<Fault>) -> Outcome<()> {
        let Disk { tree, config, rng, .. } = self;
        let file = tree.file_mut(node)?;
        let told = match file.unreported {
            Some(failed) => opened < failed || !config.error_unseen_by_new_handles.hit(rng),
            None => false,
        };
        let earlier_error = std::mem::take(&mut file.late_error) || told;
        if told {
            file.unreported = None;
        }
        match fault.map(|fault| (fault.kind, fault)) {
            None if !earlier_error => {
                file.sync(config.sector_history);
                Ok(((), 0))
            }
            None => {
                if config.reported_error_dooms.hit(rng) {
                    file.doom_from(0);
                } else {
                    file.sync(config.sector_history);
                }
                self.count("sync_reported_earlier_error", 1);
                Err(io_error())
            }
            Some((FaultKind::SyncLies, _)) if !earlier_error => {
                self.count("sync_lied", 1);
                Ok(((), 0))
            }
            Some((FaultKind::SyncLate, _)) if !earlier_error => {
                file.doom_from(0);
                file.late_error = true;
                self.count("sync_failed_late", 1);
                Ok(((), 0))
            }
            Some((_, fault)) => {
                match fault.flavour {
                    SyncFlavour::Doomed => {
                        file.doom_from(0);
                        file.doom_next = config.doom_next_write.hit(rng);
                    }
                    SyncFlavour::Reverted => file.revert(false),
                    SyncFlavour::SizeKept => file.revert(true),
                    SyncFlavour::Harmless => {}
                }
                self.count("sync_failed", 1);
                Err(fault.error())
            }
        }
    }
}
