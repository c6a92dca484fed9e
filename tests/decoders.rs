//! No bytes on disk can panic, abort, hang or allocate without bound: a bounded run of what
//! cargo-fuzz runs without end (`engine/fuzz`), in a process of its own, whose allocator counts.
//!
//! Every decoder gets every prefix, every flipped bit and many mutations of what it accepts, and
//! random bytes. A panic fails the test; a hang would exceed the count of bytes it may look at.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

use std::sync::{Mutex, PoisonError};

use peak_alloc::PeakAlloc;
use runstone::fuzzing::Decoder;
use runstone_sim::rng::Rng;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The tests take turns, so that nothing else allocates meanwhile.
static TURN: Mutex<()> = Mutex::new(());

/// What a decoder may allocate: a constant (a reader's step, and the caution of serde, which
/// believes a forged length up to a mebibyte) and so many bytes for each that it is given.
const BYTES_FIXED: usize = 3 << 20;
const BYTES_EACH: usize = 64;

/// Random mutations of each sample, and random inputs, of each decoder.
const MUTATIONS: u32 = 20_000;
const RANDOM: u32 = 5_000;

/// Decodes, and checks what the decoder may allocate and what it accepts.
fn check(decoder: Decoder, bytes: &[u8]) -> bool {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let accepted = decoder.decode(bytes);
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    let may = BYTES_FIXED + BYTES_EACH * bytes.len();
    assert!(peak <= may, "{decoder:?} allocates {peak} bytes for {}: {bytes:02x?}", bytes.len());
    if let Some(written) = &accepted {
        let again = decoder.decode(written);
        assert_eq!(again.as_ref(), Some(written), "{decoder:?} of {bytes:02x?}");
    }
    accepted.is_some()
}

fn byte(bits: &mut Rng) -> u8 {
    let [byte, ..] = bits.next_u64().to_le_bytes();
    byte
}

/// Replaces, inserts, removes or repeats some bytes; lengths and counts are forged often.
fn mutate(bytes: &mut Vec<u8>, bits: &mut Rng) {
    for _ in 0..=bits.index(3) {
        let at = bits.index(bytes.len());
        match bits.index(8) {
            0 => bytes.insert(at, byte(bits)),
            1 if !bytes.is_empty() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => bytes.extend_from_within(at..),
            4 | 5 => {
                let forged = [0u32, 1, 0x7f, 0xff, 0xffff, 1 << 20, 1 << 31, u32::MAX];
                let forged = forged[bits.index(forged.len())].to_le_bytes();
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&forged[..end - at]);
            }
            6 => {
                let end = bytes.len().min(at + 10);
                bytes[at..end].fill(0xff);
            }
            _ => {
                if let Some(changed) = bytes.get_mut(at) {
                    *changed = byte(bits);
                }
            }
        }
    }
}

#[test]
fn no_bytes_harm_a_decoder_and_what_one_accepts_it_accepts_again_as_the_same() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for (decoder, seed) in Decoder::ALL.into_iter().zip(1..) {
        let mut bits = Rng::from_seed(seed);
        let (mut accepted, mut tried) = (0, 0);
        let mut try_it = |bytes: &[u8]| {
            tried += 1;
            accepted += u32::from(check(decoder, bytes));
        };
        for sample in decoder.samples() {
            assert!(check(decoder, &sample), "{decoder:?} accepts its sample");
            for cut in 0..sample.len() {
                try_it(&sample[..cut]);
            }
            for bit in 0..sample.len() * 8 {
                let mut flipped = sample.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                try_it(&flipped);
            }
            for _ in 0..MUTATIONS / u32::try_from(decoder.samples().len()).unwrap() {
                let mut mutated = sample.clone();
                mutate(&mut mutated, &mut bits);
                try_it(&mutated);
            }
        }
        for _ in 0..RANDOM {
            let random: Vec<u8> = (0..bits.index(300)).map(|_| byte(&mut bits)).collect();
            try_it(&random);
        }
        println!("{decoder:?}: {tried} inputs, {accepted} accepted");
    }
}

#[test]
fn a_forged_count_of_items_allocates_no_more_than_a_fixed_amount() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    for decoder in Decoder::ALL {
        for sample in decoder.samples() {
            for at in 0..sample.len().saturating_sub(8) {
                for forged in [u64::MAX, 1 << 40, 1 << 32, (1 << 31) - 1] {
                    let mut bytes = sample.clone();
                    bytes[at..at + 8].copy_from_slice(&forged.to_le_bytes());
                    check(decoder, &bytes);
                }
            }
        }
    }
}

/// What decompresses a block believes its length, up to what a block may have, and nothing else.
#[test]
fn a_compressed_block_allocates_what_its_length_says_and_no_more_than_the_longest_has() {
    const LONGEST: usize = 64 << 10;
    // Copies of what is given, in a buffer that grows, and the text of an error.
    const FIXED: usize = 2 << 10;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let decoder = Decoder::TableCompressed;
    let mut bits = Rng::from_seed(99);
    let mut refused = 0;
    for sample in decoder.samples() {
        let (raw, part) = sample.split_first_chunk::<4>().unwrap();
        let right = u32::from_le_bytes(*raw);
        let near = [0, 1, 100, right - 1, right + 1, 65_535, 65_536, 65_537];
        let far = [1 << 20, (1 << 24) - 1, 1 << 31, u32::MAX];
        for raw in near.into_iter().chain(far) {
            for _ in 0..200 {
                let mut bytes = part.to_vec();
                mutate(&mut bytes, &mut bits);
                let bytes = [&raw.to_le_bytes()[..], &bytes].concat();
                let before = ALLOCATOR.current_usage();
                ALLOCATOR.reset_peak_usage();
                let is_accepted = decoder.decode(&bytes).is_some();
                let peak = ALLOCATOR.peak_usage().saturating_sub(before);
                let raw = usize::try_from(raw).unwrap();
                let may = if raw > LONGEST { 0 } else { raw } + 2 * bytes.len() + FIXED;
                // What is accepted is compressed again.
                assert!(is_accepted || peak <= may, "{peak} bytes for {raw}: {bytes:02x?}");
                refused += u32::from(!is_accepted);
            }
        }
    }
    assert!(refused > 4000, "{refused} were refused");
}

/// The canary: a decoder that believes a forged length is seen by the allocator's count.
#[test]
fn an_allocation_without_bound_would_be_seen() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let believed: Vec<u8> = Vec::with_capacity(BYTES_FIXED * 2);
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(believed.is_empty() && peak > BYTES_FIXED);
}
