//! SQLite through rusqlite: one table, a write-ahead log.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Result, anyhow};
use rusqlite::{Connection, OptionalExtension, Rows, params};

use crate::data::{Key, VALUE_BYTES};
use crate::engine::{
    Change, Direction, Each, Engine, Found, Level, Reader, Reads, Scan, Session, Setting, Setup,
};
use crate::measure::unpoisoned;

struct Sqlite {
    path: PathBuf,
    /// SQLite has one writer at a time; who waits for this lock is woken, who waits for SQLite's
    /// sleeps and tries again.
    writing: Mutex<()>,
    synchronous: &'static str,
    cache_kib: u64,
}

pub fn open(setup: &Setup) -> Result<Box<dyn Engine>> {
    let engine = Sqlite {
        path: setup.dir.join("sqlite"),
        writing: Mutex::new(()),
        synchronous: if setup.level == Level::Sync { "FULL" } else { "NORMAL" },
        // A cache belongs to a connection, and each thread has its own.
        cache_kib: setup.cache_bytes / 1024 / setup.threads.max(1) as u64,
    };
    engine.connect()?.execute_batch(
        "CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    )?;
    Ok(Box::new(engine))
}

impl Sqlite {
    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(std::time::Duration::from_secs(60))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", self.synchronous)?;
        connection.pragma_update(None, "cache_size", -i64::try_from(self.cache_kib)?)?;
        Ok(connection)
    }
}

impl Engine for Sqlite {
    fn settings(&self) -> Vec<Setting> {
        vec![
            ("journal_mode", "WAL".to_owned()),
            ("synchronous", self.synchronous.to_owned()),
            ("cache_size", format!("{} KiB for each of the connections", self.cache_kib)),
            ("table", "WITHOUT ROWID, as advised for small rows with such a key".to_owned()),
            ("connections", "one for each thread; writers wait for a lock of ours".to_owned()),
            ("weakest level", "a commit is handed to the operating system".to_owned()),
            ("compaction", "VACUUM and a checkpoint".to_owned()),
        ]
    }

    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(Connected { connection: self.connect()?, writing: &self.writing }))
    }

    fn at_one_moment(&self, work: Reads<'_>) -> Result<()> {
        let mut connected = Connected { connection: self.connect()?, writing: &self.writing };
        connected.connection.execute_batch("BEGIN")?;
        work(&mut connected)?;
        Ok(connected.connection.execute_batch("COMMIT")?)
    }

    fn sync(&self) -> Result<()> {
        // A commit that is synced makes those before it durable: they are in one log.
        let _guard = unpoisoned(self.writing.lock());
        let connection = self.connect()?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(connection.pragma_update(None, "user_version", version.wrapping_add(1))?)
    }

    fn compact(&mut self) -> Result<()> {
        Ok(self.connect()?.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        // The last connection that closes checkpoints.
        self.connect()?.close().map_err(|(_connection, error)| anyhow!(error))
    }
}

struct Connected<'a> {
    connection: Connection,
    writing: &'a Mutex<()>,
}

impl Connected<'_> {
    fn alone(&self) -> MutexGuard<'_, ()> {
        unpoisoned(self.writing.lock())
    }

    fn change(&self, change: &Change) -> Result<()> {
        let key = change.key.bytes().as_slice();
        match &change.value {
            Some(value) => {
                let put = "INSERT OR REPLACE INTO kv (key, value) VALUES (?1, ?2)";
                self.connection.prepare_cached(put)?.execute(params![key, value.as_slice()])?;
            }
            None => {
                let remove = "DELETE FROM kv WHERE key = ?1";
                self.connection.prepare_cached(remove)?.execute([key])?;
            }
        }
        Ok(())
    }
}

impl Reader for Connected<'_> {
    fn get(&mut self, key: &Key, found: Found<'_>) -> Result<bool> {
        let mut get = self.connection.prepare_cached("SELECT value FROM kv WHERE key = ?1")?;
        let row = get.query_row([key.bytes().as_slice()], |row| {
            found(row.get_ref(0)?.as_blob()?);
            Ok(())
        });
        Ok(row.optional()?.is_some())
    }

    fn scan(&mut self, scan: Scan<'_>, each: Each<'_>) -> Result<usize> {
        let (start, end) = scan.range.flat();
        let order = match scan.direction {
            Direction::Forward => "ASC",
            Direction::Backward => "DESC",
        };
        let bound = if end.is_some() { "AND key < ?3" } else { "" };
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT key, value FROM kv WHERE key >= ?1 {bound} ORDER BY key {order} LIMIT ?2"
        ))?;
        let limit = i64::try_from(scan.limit).unwrap_or(i64::MAX);
        let rows = match &end {
            Some(end) => statement.query(params![start, limit, end])?,
            None => statement.query(params![start, limit])?,
        };
        visit(rows, each)
    }

    fn count(&mut self) -> Result<u64> {
        let count: i64 =
            self.connection.query_row("SELECT count(*) FROM kv", [], |row| row.get(0))?;
        Ok(u64::try_from(count)?)
    }
}

fn visit(mut rows: Rows<'_>, each: Each<'_>) -> Result<usize> {
    let mut seen = 0;
    while let Some(row) = rows.next()? {
        each(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        seen += 1;
    }
    Ok(seen)
}

impl Session for Connected<'_> {
    fn put(&mut self, key: &Key, value: &[u8; VALUE_BYTES]) -> Result<()> {
        let _guard = self.alone();
        self.change(&Change { key: *key, value: Some(*value) })
    }

    fn write(&mut self, changes: &mut dyn Iterator<Item = Change>) -> Result<()> {
        let _guard = self.alone();
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        for change in changes {
            self.change(&change)?;
        }
        Ok(self.connection.execute_batch("COMMIT")?)
    }
}
