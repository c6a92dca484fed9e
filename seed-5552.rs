/// Shrunk from seed 5552: C2 at operation 10: run 0: key \xff\xff is missing
#[test]
fn seed_5552_is_mended() {
    let case = serde_json::from_str(
        r#"{
"creation":[],
"disk":{"capacity":null,"doom_next_write":0,"early_flush":0,"early_writeback":0,"error_unseen_by_new_handles":0,"evict_doomed":0,"file_bytes_max":268435456,"garbage_sector":0,"inode_reuse":0,"list_shuffled":false,"lost_data_garbage":0,"models":{"ZeroFill":1},"name_models":{"None":1},"names_need_synced_dirs":false,"names_need_synced_files":false,"no_preallocation":false,"prealloc_garbage":0,"rename_keeps_both":0,"reported_error_dooms":0,"sector_history":0,"size_independent":0,"stray_files":0},
"faults":{"Listed":[{"call":5,"fault":{"flavour":"Doomed","kind":"io","part":10894},"kind":"list"},{"call":16,"fault":{"flavour":"Doomed","kind":"sync_late","part":23908},"kind":"sync"}]},
"faults_in_recovery":false,
"ops":[
  {"write":{"change":{"begin":{"parent":null,"run":0,"tags":1}},"level":"default"}},
  {"submit":{"changes":[{"put":{"key":0,"run":0,"ttl_ms":null,"value":{"kind":8,"salt":3324227218,"size":1400}}}],"level":"async"}},
  {"submit":{"changes":[{"put":{"key":1,"run":0,"ttl_ms":null,"value":{"kind":8,"salt":3434491085,"size":1400}}}],"level":"batched"}},
  {"submit":{"changes":[{"put":{"key":2,"run":0,"ttl_ms":null,"value":{"kind":8,"salt":821887560,"size":1400}}}],"level":"default"}},
  {"submit":{"changes":[{"put":{"key":4,"run":0,"ttl_ms":null,"value":{"kind":8,"salt":1690663064,"size":1400}}}],"level":"strict"}},
  {"submit":{"changes":[{"put":{"key":5,"run":0,"ttl_ms":null,"value":{"kind":8,"salt":1090583212,"size":1400}}}],"level":"batched"}},
  {"submit":{"changes":[{"put":{"key":6,"run":0,"ttl_ms":null,"value":{"kind":8,"salt":3307785782,"size":1400}}}],"level":"default"}},
  {"submit":{"changes":[{"put":{"key":7,"run":0,"ttl_ms":null,"value":{"kind":8,"salt":513100785,"size":1400}}}],"level":"default"}},
  {"submit":{"changes":[{"put":{"key":8,"run":0,"ttl_ms":null,"value":{"kind":8,"salt":1367485639,"size":1400}}}],"level":"batched"}},
  {"submit":{"changes":[{"put":{"key":9,"run":0,"ttl_ms":null,"value":{"kind":8,"salt":1958997278,"size":1400}}}],"level":"async"}},
  {"write":{"change":{"delete":{"key":11,"run":0}},"level":"default"}}
],
"options":{"batch_size":40,"diligent":false,"group_commits_max":64,"interval_ms":50,"log_buffer_bytes_max":65536,"memtable_bytes_max":12000,"mode":1,"other_batch_size":1024,"other_intervals_ms":[100,100],"pad_to_sector":false,"preallocate_bytes":0,"queue_commits_max":64,"segment_bytes":65536,"steps":{"list_runs":256,"maintain_keys":1024,"merge_keys":262144,"read_bytes":262144,"rewrite_bytes":1048576,"scan_bytes":262144,"scan_entries":256,"scan_visits":4096,"sort_keys":16384},"zero_fill":false},
"seed":5552,
"world":"lying"
}
"#,
    )
    .expect("a saved case");
    let outcome = runstone_sim::harness::run(&case, false);
    assert_eq!(outcome.failure, None);
}
