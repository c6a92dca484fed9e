//! `Decoder::TableHeader`: no bytes harm it, and what it accepts is accepted again as the same.
#![no_main]

use runstone::fuzzing::Decoder;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(written) = Decoder::TableHeader.decode(bytes) {
        assert_eq!(Decoder::TableHeader.decode(&written).as_ref(), Some(&written));
    }
});
