//! `Decoder::TableCompressed`: no bytes harm it, and what it accepts is accepted again as the same.
#![no_main]

use runstone::fuzzing::Decoder;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some(written) = Decoder::TableCompressed.decode(bytes) {
        assert_eq!(Decoder::TableCompressed.decode(&written).as_ref(), Some(&written));
    }
});
