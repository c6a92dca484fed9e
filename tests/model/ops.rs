//! The operations, how they are drawn, and what their numbers stand for.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use runstone::{Level, RunStatus, Value, WriteBatch};

use crate::common::run;

/// An operation; numbers stand for runs, keys and values.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Begin(u8, u8),
    End(u8, usize),
    Put(u8, u8, u8, Option<u64>, Option<Level>),
    Delete(u8, u8),
    Remove(u8, u8),
    Batch(Vec<Op>),
    Submit(Vec<(u8, u8, u8)>),
    Advance(u64),
    SetWall(i64),
    Snapshot,
    DropSnapshot,
    Flush,
    Tick,
    Maintain,
    Close(usize),
    Kill,
    Refusals(u8),
}

fn runs() -> impl Strategy<Value = u8> {
    0u8..4
}

/// Keys that are prefixes of one another, and the greatest bytes.
pub(crate) fn key(n: u8) -> Vec<u8> {
    match n {
        0 => b"a".to_vec(),
        1 => b"a\0".to_vec(),
        2 => b"ab".to_vec(),
        3 => b"abc".to_vec(),
        4 => b"b".to_vec(),
        5 => vec![0xff],
        6 => vec![0xff, 0xff],
        7 => vec![0],
        // Beyond what a key holds inline.
        _ => [b"a key that is rather long, ".to_vec(), vec![n; 30]].concat(),
    }
}

pub(crate) fn value(n: u8) -> Value {
    match n % 6 {
        0 => Value::Null,
        1 => Value::Bool(n.is_multiple_of(4)),
        2 => Value::Int(i64::from(n) - 100),
        3 => Value::Float(f64::from(n) / 7.0),
        4 => Value::String("ü".repeat(usize::from(n))),
        _ => Value::Bytes(vec![n; usize::from(n) * 3]),
    }
}

fn ttl() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![3 => Just(None), 2 => (1u64..50).prop_map(Some), 1 => Just(Some(u64::MAX))]
}

fn level() -> impl Strategy<Value = Option<Level>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(Level::Strict)),
        1 => Just(Some(Level::Batched)),
        1 => Just(Some(Level::Async)),
    ]
}

fn change() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (runs(), 0u8..10, any::<u8>(), ttl(), level())
            .prop_map(|(r, k, v, t, l)| Op::Put(r, k, v, t, l)),
        2 => (runs(), 0u8..10).prop_map(|(r, k)| Op::Remove(r, k)),
        2 => (runs(), 0u8..3).prop_map(|(r, t)| Op::Begin(r, t)),
        1 => (runs(), 1usize..4).prop_map(|(r, s)| Op::End(r, s)),
    ]
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => change(),
        3 => (runs(), 0u8..10).prop_map(|(r, k)| Op::Delete(r, k)),
        3 => vec(change(), 1..6).prop_map(Op::Batch),
        2 => vec((runs(), 0u8..10, any::<u8>()), 1..6).prop_map(Op::Submit),
        4 => (1u64..40).prop_map(Op::Advance),
        1 => (-1_000i64..1_000).prop_map(Op::SetWall),
        1 => Just(Op::Snapshot),
        1 => Just(Op::DropSnapshot),
        1 => Just(Op::Flush),
        2 => Just(Op::Tick),
        2 => Just(Op::Maintain),
        1 => (0usize..3).prop_map(Op::Close),
        1 => Just(Op::Kill),
        1 => runs().prop_map(Op::Refusals),
    ]
}

/// A later write to a key supersedes an earlier one when the batch is built.
pub(crate) fn batch_of(ops: &[Op]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for op in ops {
        match op {
            Op::Begin(r, tag) => batch.begin_run(run(*r), [("t", tag.to_string())]),
            Op::End(r, status) => batch.end_run(run(*r), RunStatus::ALL[*status]),
            Op::Put(r, k, v, ttl, _) => {
                let ttl = ttl.map(Duration::from_millis);
                batch.put_with_ttl(run(*r), key(*k), value(*v), ttl)
            }
            Op::Remove(r, k) => batch.delete(run(*r), key(*k)),
            other => panic!("not a change: {other:?}"),
        };
    }
    batch
}

/// The writes of a batch that stand: the last of each key, at its place.
pub(crate) fn standing(ops: &[Op]) -> Vec<Op> {
    let target = |op: &Op| match op {
        Op::Put(r, k, ..) | Op::Remove(r, k) => Some((*r, *k)),
        _ => None,
    };
    (0..ops.len())
        .filter(|n| {
            let mine = target(&ops[*n]);
            mine.is_none() || !ops[n + 1..].iter().any(|later| target(later) == mine)
        })
        .map(|n| ops[n].clone())
        .collect()
}
