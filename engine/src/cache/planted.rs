//! Planted bugs of the cache; compiled with the feature `planted` only.

use super::Cache;
use crate::sync::Arc;

impl Cache {
    /// Takes a filter that was read, and gives the one before.
    pub(super) fn swap_filter(&self, bytes: Arc<[u8]>) -> Arc<[u8]> {
        self.last_filter.lock().replace(Arc::clone(&bytes)).unwrap_or(bytes)
    }
}
