//! scratch
use runstone_sim::exhaust::rot::*;
use std::collections::BTreeMap;
fn main() {
    for rest in Rest::ALL {
        let t = std::time::Instant::now();
        let store = RotStore::new(rest).unwrap();
        println!("{rest:?} {:?}", store.files());
        let mut c: BTreeMap<(&str, String), u64> = BTreeMap::new();
        let mut breaches = 0;
        for d in store.damages() {
            match store.judge(&d) {
                Ok(a) => *c.entry((d.kind(), format!("{a:?}"))).or_default() += 1,
                Err(b) => {
                    breaches += 1;
                    if breaches < 6 {
                        println!("{b}")
                    }
                }
            }
        }
        println!("{c:?} {breaches} {:?}", t.elapsed());
    }
}
