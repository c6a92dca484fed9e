//! How much of everything there is.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The sizes of all workloads; the same for every engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    /// Keys that are loaded before gets, scans and YCSB.
    pub keys: u64,
    /// Keys of a run.
    pub per_run: u64,
    /// Durable single puts of one thread; several threads do as many together for each group.
    pub sync_puts: u64,
    /// Puts that are not synced.
    pub buffered_puts: u64,
    /// Durable batches of 1,000.
    pub batches: u64,
    /// Random gets.
    pub gets: u64,
    /// Prefix scans of 1,000 keys.
    pub prefix_scans: u64,
    /// Operations of YCSB.
    pub ycsb: u64,
    /// Keys in the store that is killed and opened again.
    pub reopen_keys: u64,
    /// Keys that are overwritten.
    pub churn_keys: u64,
    /// Keys of the store that is larger than memory.
    pub large_keys: u64,
    /// Gets from the store that is larger than memory.
    pub large_gets: u64,
    /// The part of redb's own sizes: 1 is five million keys.
    pub redb_scale: f64,
    /// The budget of an engine's cache.
    pub cache_mib: u64,
    /// The same for the store that is larger than memory.
    pub large_cache_mib: u64,
    /// The size at which an engine flushes its memtable.
    pub buffer_mib: u64,
    /// The same for the store that is larger than memory.
    pub large_buffer_mib: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            keys: 1_000_000,
            per_run: 100_000,
            sync_puts: 5_000,
            buffered_puts: 500_000,
            batches: 200,
            gets: 500_000,
            prefix_scans: 1_000,
            ycsb: 500_000,
            reopen_keys: 500_000,
            churn_keys: 200_000,
            large_keys: 5_000_000,
            large_gets: 50_000,
            redb_scale: 0.1,
            cache_mib: 256,
            large_cache_mib: 64,
            buffer_mib: 64,
            large_buffer_mib: 64,
        }
    }
}

impl Sizes {
    /// Small enough that everything runs in a few minutes; shows that each row works, no more.
    pub fn quick() -> Self {
        Sizes {
            keys: 20_000,
            per_run: 5_000,
            sync_puts: 200,
            buffered_puts: 20_000,
            batches: 10,
            gets: 20_000,
            prefix_scans: 20,
            ycsb: 10_000,
            reopen_keys: 20_000,
            churn_keys: 5_000,
            large_keys: 50_000,
            large_gets: 2_000,
            redb_scale: 0.004,
            cache_mib: 64,
            large_cache_mib: 4,
            buffer_mib: 64,
            // A memtable of the usual size would hold all of it.
            large_buffer_mib: 1,
        }
    }

    /// Changes one size, as `name=value`.
    pub fn set(&mut self, setting: &str) -> Result<()> {
        let (name, number) =
            setting.split_once('=').with_context(|| format!("{setting} is not name=value"))?;
        let mut fields = serde_json::to_value(&self)?;
        let Some(field) = fields.get_mut(name) else {
            bail!("no size is called {name}: {}", serde_json::to_string(&self)?);
        };
        *field = serde_json::from_str(number).with_context(|| format!("{setting}: no number"))?;
        *self = serde_json::from_value(fields).with_context(|| setting.to_owned())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_set_by_its_name_and_an_unknown_one_is_refused() {
        let mut sizes = Sizes::quick();
        sizes.set("keys=7").unwrap();
        sizes.set("redb_scale=0.5").unwrap();
        assert_eq!(sizes, Sizes { keys: 7, redb_scale: 0.5, ..Sizes::quick() });
        for wrong in ["key=7", "keys", "keys=many", "keys=-1"] {
            assert!(sizes.set(wrong).is_err(), "{wrong}");
        }
    }
}
