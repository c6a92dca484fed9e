//! RocksDB, behind the feature `rocksdb`.

use anyhow::Result;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBIteratorWithThreadMode, Direction as From,
    IteratorMode, Options, ReadOptions, SnapshotWithThreadMode, WriteBatch, WriteOptions,
};

use crate::data::{Key, VALUE_BYTES};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Reader, Reads, Scan, Session, Setting, Setup,
};

/// A batch is in memory several times until it is committed.
const BATCH_MAX: usize = 100_000;

struct RocksDb {
    db: DB,
    level: Level,
    settings: Vec<Setting>,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    // The advice of RocksDB's wiki, "Setup Options and Basic Tuning".
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(usize::try_from(setup.cache_bytes)?)?);
    table.set_bloom_filter(10.0, false);
    table.set_block_size(16 << 10);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(usize::try_from(setup.buffer_bytes)?);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_background_jobs(2);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_manual_wal_flush(setup.level == Level::Memory);
    let level = match setup.level {
        Level::Sync => "WriteOptions::sync",
        Level::Os => "the default: a write for each commit",
        Level::Memory => "manual_wal_flush: a commit stays in a buffer",
    };
    let settings = vec![
        ("durability", level.to_owned()),
        ("block cache", setup.cache_bytes.to_string()),
        ("write_buffer_size", setup.buffer_bytes.to_string()),
        ("tables", "blocks of 16 KiB, bloom filter of 10 bits, LZ4".to_owned()),
        ("max_background_jobs", "2".to_owned()),
        ("bulk load", format!("batches of {BATCH_MAX}")),
    ];
    let db = DB::open(&options, setup.dir.join("rocksdb"))?;
    Ok(Box::new(RocksDb { db, level: setup.level, settings }))
}

impl Engine for RocksDb {
    fn settings(&self) -> Vec<Setting> {
        self.settings.clone()
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        let mut options = WriteOptions::default();
        options.set_sync(self.level == Level::Sync);
        Ok(Box::new(Latest { db: &self.db, options }))
    }

    fn at_one_moment(&self, work: Reads<'_>) -> Result<()> {
        work(&mut Moment(self.db.snapshot()))
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn sync(&self) -> Result<()> {
        Ok(self.db.flush_wal(true)?)
    }

    fn compact(&mut self) -> Result<()> {
        self.db.flush()?;
        self.db.compact_range::<&[u8], &[u8]>(None, None);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}

/// The options and the beginning of a walk over a range.
fn range_of(scan: Scan<'_>) -> (ReadOptions, Vec<u8>) {
    let (start, end) = scan.range.flat();
    let mut options = ReadOptions::default();
    options.set_iterate_lower_bound(start.clone());
    if let Some(end) = end {
        options.set_iterate_upper_bound(end);
    }
    (options, start)
}

fn mode<'a>(scan: Scan<'_>, start: &'a [u8]) -> IteratorMode<'a> {
    match scan.direction {
        Direction::Forward => IteratorMode::From(start, From::Forward),
        Direction::Backward => IteratorMode::End,
    }
}

fn walk(items: DBIteratorWithThreadMode<'_, DB>, limit: usize, each: Each<'_>) -> Result<usize> {
    let mut seen = 0;
    for item in items.take(limit) {
        let (key, value) = item?;
        each(&key, &value);
        seen += 1;
    }
    Ok(seen)
}

struct Latest<'a> {
    db: &'a DB,
    options: WriteOptions,
}

impl Reader for Latest<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let value = self.db.get_pinned(key.bytes())?;
        Ok(value.inspect(|value| found(value)).is_some())
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let (options, start) = range_of(scan);
        walk(self.db.iterator_opt(mode(scan, &start), options), scan.limit, each)
    }
}

impl Session for Latest<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        Ok(self.db.put_opt(key.bytes(), value, &self.options)?)
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        let mut batch = WriteBatch::default();
        for Change { key, value } in changes {
            match value {
                Some(value) => batch.put(key.bytes(), value),
                None => batch.delete(key.bytes()),
            }
        }
        Ok(self.db.write_opt(batch, &self.options)?)
    }
}

struct Moment<'a>(SnapshotWithThreadMode<'a, DB>);

impl Reader for Moment<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let value = self.0.get_pinned(key.bytes())?;
        Ok(value.inspect(|value| found(value)).is_some())
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let (options, start) = range_of(scan);
        walk(self.0.iterator_opt(mode(scan, &start), options), scan.limit, each)
    }
}
