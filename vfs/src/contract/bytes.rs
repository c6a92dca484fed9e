//! The checks of [`VfsFile`]: the content of files.

use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
use std::io::IoSlice;
use std::path::Path;

use super::{content, content_at, fails, ok, put};
use crate::{Access, FILE_BYTES_MAX, Vfs, read_full_at, write_all_at, write_all_vectored_at};

/// Positions and lengths around which an implementation may change its mind: sectors and pages.
const EDGES: [u64; 10] = [0, 1, 7, 511, 512, 513, 4095, 4096, 4097, 9000];

/// A small position as an index.
fn at(pos: u64) -> usize {
    usize::try_from(pos).unwrap_or(usize::MAX)
}

/// `len` bytes, none of them zero, that differ from those of other seeds and places.
fn pattern(seed: u64, len: u64) -> Vec<u8> {
    (0..len).map(|i| ((i * 7 + i / 251 + seed * 31) % 255) as u8 + 1).collect()
}

pub(super) fn written_bytes_are_read_back_through_every_handle(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("f");
    let one = ok("create", vfs.create(&path));
    let two = ok("open", vfs.open(&path, Access::ReadWrite));
    let reader = ok("open", vfs.open(&path, Access::Read));
    ok("write through one", write_all_at(&*one, &pattern(1, 5000), 0));
    ok("write through the other", write_all_at(&*two, &pattern(2, 5000), 2500));
    let mut expected = pattern(1, 2500);
    expected.extend(pattern(2, 5000));
    for file in [&one, &two, &reader] {
        assert_eq!(content(&**file), expected);
    }
    ok("set_len through the other", two.set_len(3));
    for file in [&one, &two, &reader] {
        assert_eq!(content(&**file), expected[..3]);
    }
}

pub(super) fn reads_stop_at_the_end_of_the_file(vfs: &dyn Vfs, dir: &Path) {
    let bytes = pattern(1, 5000);
    let file = put(vfs, &dir.join("f"), &bytes);
    let mut buf = [0xEE; 100];
    assert_eq!(ok("read across the end", read_full_at(&*file, &mut buf, 4990)), 10);
    assert_eq!(buf[..10], bytes[4990..]);
    assert_eq!(buf[10..], [0xEE; 90], "bytes of the buffer beyond the end are left alone");
    for pos in [5000, 5001, 1 << 40, FILE_BYTES_MAX - 100] {
        assert_eq!(ok("read at or beyond the end", file.read_at(&mut buf, pos)), 0);
    }
    assert_eq!(ok("read the last byte", file.read_at(&mut buf[..1], 4999)), 1);
    let n = ok("read", file.read_at(&mut buf, 0));
    assert!((1..=100).contains(&n), "0 bytes only at the end, found {n}");
}

pub(super) fn a_gap_behind_the_old_end_reads_as_zeros(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("f");
    for len in EDGES {
        for gap in EDGES {
            let file = put(vfs, &path, &pattern(1, len));
            ok("write behind a gap", write_all_at(&*file, b"end", len + gap));
            let mut expected = pattern(1, len);
            expected.extend(vec![0; at(gap)]);
            expected.extend(b"end");
            assert!(content(&*file) == expected, "{len} bytes, a gap of {gap}");
            ok("remove", vfs.remove(&path));
        }
    }
}

pub(super) fn a_write_inside_the_file_spares_its_neighbours(vfs: &dyn Vfs, dir: &Path) {
    let mut expected = pattern(1, 20_000);
    let file = put(vfs, &dir.join("f"), &expected);
    for (seed, pos) in EDGES.into_iter().enumerate() {
        for len in EDGES {
            let bytes = pattern(seed as u64 + 2, len);
            ok("write", write_all_at(&*file, &bytes, pos));
            expected[at(pos)..at(pos + len)].copy_from_slice(&bytes);
            assert!(content(&*file) == expected, "{len} bytes at {pos}");
        }
    }
}

pub(super) fn empty_reads_and_writes_change_nothing(vfs: &dyn Vfs, dir: &Path) {
    let file = put(vfs, &dir.join("f"), b"bytes");
    for pos in [0, 3, 5, 6, 10_000, FILE_BYTES_MAX] {
        assert_eq!(ok("read nothing", file.read_at(&mut [], pos)), 0);
        assert_eq!(ok("write nothing", file.write_at(&[], pos)), 0);
        assert_eq!(ok("write no slices", file.write_vectored_at(&[], pos)), 0);
        let empty = [IoSlice::new(&[]), IoSlice::new(&[])];
        assert_eq!(ok("write empty slices", file.write_vectored_at(&empty, pos)), 0);
    }
    assert_eq!(content(&*file), b"bytes");
}

pub(super) fn a_vectored_write_puts_its_slices_one_after_the_other(vfs: &dyn Vfs, dir: &Path) {
    let mut expected = pattern(9, 20_000);
    let file = put(vfs, &dir.join("f"), &expected);
    for pos in EDGES {
        let parts =
            [pattern(1, 0), pattern(2, 513), pattern(3, 0), pattern(4, 4096), b"!".to_vec()];
        let mut bufs = parts.each_ref().map(|part| IoSlice::new(part));
        ok("write", write_all_vectored_at(&*file, &mut bufs, pos));
        let joined = parts.concat();
        expected[at(pos)..][..joined.len()].copy_from_slice(&joined);
        assert!(content(&*file) == expected, "at {pos}");
    }
    let bufs = [IoSlice::new(b""), IoSlice::new(b"ab"), IoSlice::new(b"cd")];
    let n = ok("one vectored write", file.write_vectored_at(&bufs, 0));
    assert!((1..=4).contains(&n), "0 bytes only for empty slices, found {n}");
    assert_eq!(content(&*file)[..n], b"abcd"[..n]);
}

/// A system call takes about a thousand slices: empty ones must not use them all up.
pub(super) fn a_vectored_write_of_many_empty_slices_still_gets_on(vfs: &dyn Vfs, dir: &Path) {
    let file = put(vfs, &dir.join("f"), b"");
    let mut bufs = vec![IoSlice::new(b""); 3000];
    bufs.push(IoSlice::new(b"at last"));
    assert_ne!(ok("write", file.write_vectored_at(&bufs, 0)), 0);
    let mut bufs: Vec<_> = (0..6000).map(|i| IoSlice::new([&b""[..], b"xy"][i % 2])).collect();
    ok("write", write_all_vectored_at(&*file, &mut bufs, 0));
    assert_eq!(content(&*file), b"xy".repeat(3000));
}

pub(super) fn set_len_cuts_and_what_was_cut_never_comes_back(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("f");
    for cut in EDGES {
        let file = put(vfs, &path, &pattern(1, 9000));
        ok("set_len", file.set_len(cut));
        let mut expected = pattern(1, cut);
        assert!(content(&*file) == expected, "cut to {cut}");
        ok("set_len", file.set_len(9500));
        expected.resize(9500, 0);
        assert!(content(&*file) == expected, "cut to {cut} and extended");
        ok("set_len", file.set_len(cut));
        ok("write", write_all_at(&*file, b"end", 9997));
        expected.resize(9997, 0);
        expected.extend(b"end");
        assert!(content(&*file) == expected, "cut to {cut} and written beyond");
        ok("remove", vfs.remove(&path));
    }
}

pub(super) fn set_len_extends_with_zeros(vfs: &dyn Vfs, dir: &Path) {
    let file = put(vfs, &dir.join("f"), b"");
    let mut expected = Vec::new();
    for len in EDGES {
        ok("set_len", file.set_len(len));
        expected.resize(at(len), 0);
        assert!(content(&*file) == expected, "extended to {len}");
        ok("set_len to the same", file.set_len(len));
        ok("write", write_all_at(&*file, b"x", len));
        expected.push(b'x');
        ok("set_len", file.set_len(len + 1));
        assert!(content(&*file) == expected, "extended to {len} and written");
    }
}

/// An implementation may answer `Unsupported`, if it then changes nothing.
pub(super) fn allocate_extends_and_keeps_the_content(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("f");
    for pos in EDGES {
        for len in EDGES.into_iter().skip(1) {
            let mut expected = pattern(1, 4100);
            let file = put(vfs, &path, &expected);
            match file.allocate(pos, len) {
                Err(error) if error.kind() == Unsupported => {}
                done => {
                    ok("allocate", done);
                    expected.resize(expected.len().max(at(pos + len)), 0);
                }
            }
            assert!(content(&*file) == expected, "allocated {len} bytes at {pos}");
            ok("write", write_all_at(&*file, b"in the middle", 2000));
            expected[2000..2013].copy_from_slice(b"in the middle");
            assert!(content(&*file) == expected, "allocated {len} bytes at {pos} and written");
            ok("remove", vfs.remove(&path));
        }
    }
}

pub(super) fn allocate_of_nothing_changes_nothing(vfs: &dyn Vfs, dir: &Path) {
    let file = put(vfs, &dir.join("f"), b"bytes");
    for pos in [0, 5, 10_000] {
        ok("allocate nothing", file.allocate(pos, 0));
    }
    assert_eq!(content(&*file), b"bytes");
}

pub(super) fn len_and_is_empty_tell_the_size(vfs: &dyn Vfs, dir: &Path) {
    let file = put(vfs, &dir.join("f"), b"");
    assert!(ok("is_empty", file.is_empty()));
    for len in EDGES.into_iter().skip(1) {
        ok("write the last byte", write_all_at(&*file, b"x", len - 1));
        assert_eq!(ok("len", file.len()), len);
        assert!(!ok("is_empty", file.is_empty()));
    }
    ok("write inside", write_all_at(&*file, b"x", 0));
    assert_eq!(ok("len", file.len()), 9000);
    ok("set_len", file.set_len(0));
    assert!(ok("is_empty", file.is_empty()));
}

pub(super) fn a_handle_for_reading_refuses_every_change(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("f");
    put(vfs, &path, b"bytes");
    let file = ok("open", vfs.open(&path, Access::Read));
    let bufs = [IoSlice::new(b"B")];
    for pos in [0, 100, FILE_BYTES_MAX + 1] {
        fails("write", file.write_at(b"B", pos), PermissionDenied);
        fails("write nothing", file.write_at(b"", pos), PermissionDenied);
        fails("vectored write", file.write_vectored_at(&bufs, pos), PermissionDenied);
        fails("vectored write of nothing", file.write_vectored_at(&[], pos), PermissionDenied);
        fails("set_len", file.set_len(pos), PermissionDenied);
        fails("allocate", file.allocate(pos, 10), PermissionDenied);
        fails("allocate nothing", file.allocate(pos, 0), PermissionDenied);
    }
    if !cfg!(windows) {
        ok("sync through a handle for reading", file.sync());
    }
    assert_eq!(content(&*file), b"bytes");
}

pub(super) fn a_range_beyond_the_greatest_size_is_invalid_input(vfs: &dyn Vfs, dir: &Path) {
    let file = put(vfs, &dir.join("f"), b"bytes");
    let one = [IoSlice::new(b"B")];
    let mut byte = [0];
    for pos in [FILE_BYTES_MAX, FILE_BYTES_MAX + 1, u64::MAX] {
        fails("read", file.read_at(&mut byte, pos), InvalidInput);
        fails("write", file.write_at(b"B", pos), InvalidInput);
        fails("vectored write", file.write_vectored_at(&one, pos), InvalidInput);
        fails("allocate", file.allocate(pos, 1), InvalidInput);
        fails("allocate", file.allocate(1, pos), InvalidInput);
    }
    for pos in [FILE_BYTES_MAX + 1, u64::MAX] {
        fails("read nothing", file.read_at(&mut [], pos), InvalidInput);
        fails("write nothing", file.write_at(&[], pos), InvalidInput);
        fails("write no slices", file.write_vectored_at(&[], pos), InvalidInput);
        fails("allocate nothing", file.allocate(pos, 0), InvalidInput);
        fails("set_len", file.set_len(pos), InvalidInput);
    }
    assert_eq!(content(&*file), b"bytes");
}

pub(super) fn sync_succeeds_and_changes_nothing(vfs: &dyn Vfs, dir: &Path) {
    let path = dir.join("f");
    let file = put(vfs, &path, b"");
    ok("sync an empty file", file.sync());
    for round in 0..3_u64 {
        ok("write", write_all_at(&*file, &pattern(round, 700), round * 700));
        ok("sync", file.sync());
        ok("sync what is synced", file.sync());
    }
    let expected = [pattern(0, 700), pattern(1, 700), pattern(2, 700)].concat();
    assert_eq!(content(&*file), expected);
    assert_eq!(content_at(vfs, &path), expected);
}

pub(super) fn one_handle_serves_several_threads(vfs: &dyn Vfs, dir: &Path) {
    const PART: u64 = 3000;
    let file = put(vfs, &dir.join("f"), b"");
    std::thread::scope(|scope| {
        for part in 0..4_u64 {
            let file = &*file;
            scope.spawn(move || {
                let bytes = pattern(part, PART);
                let mut found = vec![0; bytes.len()];
                for _ in 0..20 {
                    ok("write", write_all_at(file, &bytes, part * PART));
                    ok("read", read_full_at(file, &mut found, part * PART));
                    assert!(found == bytes, "part {part} differs from what was written");
                }
            });
        }
    });
    let expected: Vec<u8> = (0..4).flat_map(|part| pattern(part, PART)).collect();
    assert!(content(&*file) == expected, "the parts differ once all threads are done");
}
