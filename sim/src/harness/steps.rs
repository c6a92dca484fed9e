//! How much the engine does at once, as a case chooses it.
//!
//! A store of a few hundred operations never gets across an edge of the default steps; with
//! steps of a few keys, or hundred bytes of the log, it crosses one at every turn. No answer may
//! depend on them.

use runstone::Steps;
use serde::{Deserialize, Serialize};

/// The engine's steps; see [`Steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSpec {
    /// Bytes of the log that are read at once.
    pub read_bytes: u64,
    /// Bytes of a tail that are written at once.
    pub rewrite_bytes: usize,
    /// Entries that an iterator reads ahead; no more than the engine's default at first.
    pub scan_entries: usize,
    /// Bytes that an iterator reads ahead.
    pub scan_bytes: usize,
    /// Keys that an iterator passes under one lock.
    pub scan_visits: usize,
    /// New keys that a walk sorts under one lock.
    #[serde(default = "sort_keys")]
    pub sort_keys: usize,
    /// Keys of sorted runs that it merges under one lock.
    #[serde(default = "merge_keys")]
    pub merge_keys: usize,
    /// Ended runs that are remembered.
    #[serde(default = "ended_runs")]
    pub ended_runs: usize,
    /// Keys that a step of maintenance frees or visits.
    pub maintain_keys: usize,
    /// Bytes of tables that a step of maintenance merges.
    #[serde(default = "merge_bytes")]
    pub merge_bytes: usize,
}

fn merge_bytes() -> usize {
    Steps::default().merge_bytes
}

fn sort_keys() -> usize {
    Steps::default().sort_keys_max
}

fn ended_runs() -> usize {
    Steps::default().remembered_runs_max
}

fn merge_keys() -> usize {
    Steps::default().merge_keys_max
}

impl Default for StepSpec {
    fn default() -> Self {
        let steps = Steps::default();
        StepSpec {
            read_bytes: steps.read_bytes,
            rewrite_bytes: steps.rewrite_bytes,
            scan_entries: steps.scan_entries_max,
            scan_bytes: steps.scan_bytes_max,
            scan_visits: steps.scan_visits_max,
            sort_keys: steps.sort_keys_max,
            merge_keys: steps.merge_keys_max,
            ended_runs: steps.remembered_runs_max,
            maintain_keys: steps.maintain_keys_max,
            merge_bytes: steps.merge_bytes,
        }
    }
}

impl StepSpec {
    /// As the engine's option.
    pub fn steps(self) -> Steps {
        Steps {
            read_bytes: self.read_bytes,
            rewrite_bytes: self.rewrite_bytes,
            scan_entries_first: self.scan_entries.min(Steps::default().scan_entries_first),
            scan_entries_max: self.scan_entries,
            scan_bytes_max: self.scan_bytes,
            scan_visits_max: self.scan_visits,
            scan_removed_max: match self.scan_visits {
                as_ever if as_ever == Steps::default().scan_visits_max => {
                    Steps::default().scan_removed_max
                }
                few => (few % 4).max(1),
            },
            sort_keys_max: self.sort_keys,
            merge_keys_max: self.merge_keys,
            remembered_runs_max: self.ended_runs,
            maintain_keys_max: self.maintain_keys,
            merge_bytes: self.merge_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::case::CaseOptions;

    #[test]
    fn options_that_were_saved_before_there_were_steps_have_the_engines_own() {
        assert_eq!(StepSpec::default().steps(), Steps::default());
        let text = r#"{"mode":0,"batch_size":1,"interval_ms":1,"segment_bytes":512,
            "preallocate_bytes":0,"zero_fill":false,"pad_to_sector":false,
            "memtable_bytes_max":9000,"log_buffer_bytes_max":0,"group_commits_max":1,
            "queue_commits_max":1,"diligent":true}"#;
        let options: CaseOptions = serde_json::from_str(text).unwrap();
        assert_eq!(options.engine().steps, Steps::default());
    }
}
