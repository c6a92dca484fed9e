//! LMDB through heed: one mapped file, a copy-on-write tree.

use std::fs::{self, File};
use std::ops::Bound;
use std::path::Path;

use anyhow::{Context, Result};
use heed::types::Bytes;
use heed::{
    CommitOrAbort, CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, RoTxn, WithoutTls,
};

use crate::data::{Key, VALUE_BYTES};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Reader, Reads, Scan, Session, Setting, Setup,
};

/// LMDB wants the largest size that the store may ever have; it costs addresses only.
const MAP_BYTES: usize = 64 << 30;

type Kv = Database<'static, Bytes, Bytes>;

struct Heed {
    /// None only while a compaction puts the file in its place.
    env: Option<Env<WithoutTls>>,
    kv: Kv,
    flags: EnvFlags,
    settings: Vec<Setting>,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    let mut flags = match setup.level {
        Level::Sync => EnvFlags::empty(),
        // The pages of a commit are written, and not synced.
        Level::Os | Level::Memory => EnvFlags::NO_SYNC,
    };
    if setup.is_large {
        flags |= EnvFlags::NO_READ_AHEAD;
    }
    let settings = vec![
        ("flags", if flags.is_empty() { "none".to_owned() } else { format!("{flags:?}") }),
        ("map_size", MAP_BYTES.to_string()),
        ("cache", "none of its own: the file is mapped".to_owned()),
        ("weakest level", "a commit is handed to the operating system".to_owned()),
        ("compaction", "a compacted copy, renamed over the file".to_owned()),
    ];
    let (env, kv) = open_env(&setup.dir, flags)?;
    Ok(Box::new(Heed { env: Some(env), kv, flags, settings }))
}

fn open_env(dir: &Path, flags: EnvFlags) -> Result<(Env<WithoutTls>, Kv)> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES).max_readers(512);
    // Safety: the directory is this process's own, nothing else maps or writes the file.
    let env = unsafe { options.flags(flags).open(dir)? };
    let kv = env.create_databases_and_commit(env.write_txn()?, |opener, write| {
        opener.create_database(write, None).map(CommitOrAbort::<_, ()>::Commit)
    })?;
    Ok((env, kv.commit().context("it was committed")?))
}

impl Heed {
    fn env(&self) -> Result<&Env<WithoutTls>> {
        self.env.as_ref().context("a compaction failed half way")
    }
}

impl Engine for Heed {
    fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Latest { env: self.env()?, kv: self.kv }))
    }

    fn at_one_moment(&self, work: Reads<'_>) -> Result<()> {
        work(&mut Moment { read: &self.env()?.read_txn()?, kv: self.kv })
    }

    fn sync(&self) -> Result<()> {
        Ok(self.env()?.force_sync()?)
    }

    fn compact(&mut self) -> Result<()> {
        let env = self.env.take().context("a compaction failed half way")?;
        let dir = env.path().to_owned();
        let mut copy = File::create_new(dir.join("compacted"))?;
        env.copy_to_file(&mut copy, CompactionOption::Enabled)?;
        copy.sync_all()?;
        env.prepare_for_closing().wait();
        fs::rename(dir.join("compacted"), dir.join("data.mdb"))?;
        let (env, kv) = open_env(&dir, self.flags)?;
        (self.env, self.kv) = (Some(env), kv);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        if let Some(env) = self.env {
            env.force_sync()?;
            env.prepare_for_closing().wait();
        }
        Ok(())
    }
}

struct Latest<'a> {
    env: &'a Env<WithoutTls>,
    kv: Kv,
}

impl Reader for Latest<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        Moment { read: &self.env.read_txn()?, kv: self.kv }.get(key, found)
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        Moment { read: &self.env.read_txn()?, kv: self.kv }.scan(scan, each)
    }

    fn count(&mut self) -> Result<u64> {
        Moment { read: &self.env.read_txn()?, kv: self.kv }.count()
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        self.write(&mut std::iter::once(Change { key: *key, value: Some(*value) }))
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        let mut write = self.env.write_txn()?;
        for Change { key, value } in changes {
            match value {
                Some(value) => self.kv.put(&mut write, key.bytes(), &value)?,
                None => self.kv.delete(&mut write, key.bytes()).map(drop)?,
            }
        }
        Ok(write.commit()?)
    }
}

struct Moment<'a> {
    read: &'a RoTxn<'a, WithoutTls>,
    kv: Kv,
}

impl Reader for Moment<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let value = self.kv.get(self.read, key.bytes())?;
        value.inspect(|value| found(value));
        Ok(value.is_some())
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let (start, end) = scan.range.flat();
        let start = if start.is_empty() { Bound::Unbounded } else { Bound::Included(&start[..]) };
        let end = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut seen = 0;
        let mut visit = |item: heed::Result<(&[u8], &[u8])>| -> Result<()> {
            let (key, value) = item?;
            each(key, value);
            seen += 1;
            Ok(())
        };
        let range = (start, end);
        match scan.direction {
            Direction::Forward => {
                self.kv.range(self.read, &range)?.take(scan.limit).try_for_each(&mut visit)?;
            }
            Direction::Backward => {
                self.kv.rev_range(self.read, &range)?.take(scan.limit).try_for_each(&mut visit)?;
            }
        }
        Ok(seen)
    }

    fn count(&mut self) -> Result<u64> {
        Ok(self.kv.stat(self.read)?.entries as u64)
    }
}
