//! The key-value facade: bytes in, bytes out.
//!
//! The pattern for later facades: stateless, a database handle and nothing else; a clone is an
//! `Arc` clone; every call goes to the database.

use std::ops::RangeBounds;
use std::time::Duration;

use crate::batch::WriteBatch;
use crate::database::{Database, Scan};
use crate::error::{Error, Result};
use crate::options::WriteOptions;
use crate::types::{RunId, Value};

/// Keys and values as bytes.
///
/// ```
/// use runstone::{Database, KVStore, RunId};
/// let db = Database::in_memory()?;
/// let kv = KVStore::new(db.clone());
/// let run = RunId::new();
/// db.begin_run(run, runstone::NO_TAGS)?;
/// kv.put(run, "k", "v")?;
/// assert_eq!(kv.get(run, "k")?.as_deref(), Some(&b"v"[..]));
/// # Ok::<(), runstone::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct KVStore {
    db: Database,
}

impl KVStore {
    /// A facade of this database.
    #[must_use]
    pub fn new(db: Database) -> Self {
        KVStore { db }
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.db
    }

    /// The bytes of a key, if it is there and has not expired.
    ///
    /// Errors: those of [`Database::get`]; [`Error::WrongType`] if the value is not bytes.
    pub fn get(&self, run: RunId, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.db.get(run, key)?.map(bytes).transpose()
    }

    /// Reads the bytes of a key where they stand: see [`Database::get_with`].
    ///
    /// Errors: those of [`Database::get`]; [`Error::WrongType`] if the value is not bytes, and then
    /// `read` is not called.
    pub fn get_with<T>(
        &self,
        run: RunId,
        key: impl AsRef<[u8]>,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>> {
        let found = self.db.get_with(run, key, |entry| {
            let value = entry.value();
            value
                .as_bytes()
                .map(read)
                .ok_or_else(|| Error::wrong_type("bytes", value.kind().as_str()))
        })?;
        found.transpose()
    }

    /// Sets a key, and clears an older TTL. Returns the commit's version.
    ///
    /// Errors: those of [`Database::put`].
    pub fn put(&self, run: RunId, key: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) -> Result<u64> {
        self.db.put(run, key, Value::Bytes(value.into()))
    }

    /// As [`KVStore::put`], with a time to live; `None` means never.
    ///
    /// Errors: those of [`Database::put_with_ttl`].
    pub fn put_with_ttl(
        &self,
        run: RunId,
        key: impl AsRef<[u8]>,
        value: impl Into<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> Result<u64> {
        self.db.put_with_ttl(run, key, Value::Bytes(value.into()), ttl)
    }

    /// Deletes a key; whether there was a visible value, of any kind, just before.
    ///
    /// Errors: those of [`Database::delete`].
    pub fn delete(&self, run: RunId, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.db.delete(run, key)?.is_some())
    }

    /// Whether a key is there, with a value of any kind, and has not expired.
    ///
    /// Errors: those of [`Database::exists`].
    pub fn exists(&self, run: RunId, key: impl AsRef<[u8]>) -> Result<bool> {
        self.db.exists(run, key)
    }

    /// The keys that begin with `prefix`, with their bytes, in byte order.
    ///
    /// Errors: those of [`Database::list`]; [`Error::WrongType`] if a value is not bytes.
    pub fn list(&self, run: RunId, prefix: impl AsRef<[u8]>) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        KVScan { inner: self.db.scan_prefix(run, prefix)?, failed: false }.collect()
    }

    /// The keys in a range, lazily, from either end.
    ///
    /// Errors: those of [`Database::scan`]; the iterator yields [`Error::WrongType`] at a
    /// value that is not bytes, and stops.
    pub fn scan<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, run: RunId, range: R) -> Result<KVScan> {
        Ok(KVScan { inner: self.db.scan(run, range)?, failed: false })
    }

    /// Several changes of one run that take effect together.
    ///
    /// ```
    /// # use runstone::{Database, KVStore, RunId};
    /// # let db = Database::in_memory()?;
    /// # let kv = KVStore::new(db.clone());
    /// # let run = RunId::new();
    /// # db.begin_run(run, runstone::NO_TAGS)?;
    /// kv.batch(run).put("a", "1").put("b", "2").delete("c").commit()?;
    /// assert_eq!(kv.list(run, "")?.len(), 2);
    /// # Ok::<(), runstone::Error>(())
    /// ```
    pub fn batch(&self, run: RunId) -> KVBatch {
        KVBatch { db: self.db.clone(), run, batch: WriteBatch::new() }
    }
}

fn bytes(value: Value) -> Result<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        other => Err(Error::wrong_type("bytes", other.kind().as_str())),
    }
}

/// Changes of one run, in bytes; see [`KVStore::batch`].
#[derive(Debug)]
#[must_use = "a batch does nothing until it is committed"]
pub struct KVBatch {
    db: Database,
    run: RunId,
    batch: WriteBatch,
}

impl KVBatch {
    /// Sets a key.
    pub fn put(mut self, key: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) -> Self {
        self.batch.put(self.run, key, Value::Bytes(value.into()));
        self
    }

    /// Sets a key with a time to live; `None` means never.
    pub fn put_with_ttl(
        mut self,
        key: impl AsRef<[u8]>,
        value: impl Into<Vec<u8>>,
        ttl: Option<Duration>,
    ) -> Self {
        self.batch.put_with_ttl(self.run, key, Value::Bytes(value.into()), ttl);
        self
    }

    /// Deletes a key.
    pub fn delete(mut self, key: impl AsRef<[u8]>) -> Self {
        self.batch.delete(self.run, key);
        self
    }

    /// Commits; returns the version.
    ///
    /// Errors: those of [`Database::write`].
    pub fn commit(self) -> Result<u64> {
        self.db.write(self.batch)
    }

    /// Commits with a durability of its own; returns the version.
    ///
    /// Errors: those of [`Database::write`].
    pub fn commit_with(self, options: WriteOptions) -> Result<u64> {
        self.db.write_with(self.batch, options)
    }
}

/// A lazy walk over keys and bytes; see [`KVStore::scan`].
#[derive(Debug)]
pub struct KVScan {
    inner: Scan,
    failed: bool,
}

impl KVScan {
    fn present(
        &mut self,
        item: Option<<Scan as Iterator>::Item>,
    ) -> Option<Result<(Vec<u8>, Vec<u8>)>> {
        let item = item?.and_then(|(key, value)| Ok((key, bytes(value.value)?)));
        self.failed = item.is_err();
        Some(item)
    }
}

impl Iterator for KVScan {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let item = self.inner.next();
        self.present(item)
    }
}

impl DoubleEndedIterator for KVScan {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.failed && !planted!(FacadeGoesOn) {
            return None;
        }
        let item = self.inner.next_back();
        self.present(item)
    }
}
