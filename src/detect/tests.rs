//! What detection promises of any bytes, whichever reader they go to: never a panic, and an answer
//! that holds once given. The tables of real protocols are next door.

mod hello;
mod protocols;

use super::*;
use proptest::prelude::*;

/// Bytes that stay near the interesting: cuts, joins and single changes of real beginnings.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let real = prop::sample::select(protocols::beginnings());
    let near = (real.clone(), real, 0..400usize, any::<u8>(), any::<prop::sample::Index>());
    let near = near.prop_map(|(mut head, tail, cut, byte, at)| {
        head.truncate(cut);
        head.extend(tail);
        if !head.is_empty() {
            let at = at.index(head.len());
            head[at] = byte;
        }
        head
    });
    prop_oneof![3 => near, 1 => prop::collection::vec(any::<u8>(), 0..400)]
}

proptest! {
    #[test]
    fn a_certain_sniff_holds_for_every_continuation(bytes in bytes()) {
        let mut certain = Sniff::NeedMore;
        for end in 0..=bytes.len() {
            let now = sniff(&bytes[..end]);
            prop_assert!(certain == Sniff::NeedMore || certain == now, "{certain:?} then {now:?}");
            prop_assert_ne!(sniff_final(&bytes[..end]), Sniff::NeedMore);
            if now != Sniff::NeedMore {
                prop_assert_eq!(sniff_final(&bytes[..end]), now);
            }
            certain = now;
        }
    }

    #[test]
    fn a_certain_hello_holds_for_every_continuation(bytes in bytes(), tls in any::<bool>()) {
        let head: &[u8] = if tls { &[0x16, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3] } else { &[] };
        let bytes = [head, &bytes].concat();
        let mut certain = Hello::Incomplete;
        for end in 0..=bytes.len() {
            let now = read(&bytes[..end]);
            prop_assert!(certain == Hello::Incomplete || certain == now, "{certain:?}, {now:?}");
            certain = now;
        }
    }

    #[test]
    fn what_sniffs_as_other_than_tls_is_no_hello(bytes in bytes()) {
        if !matches!(sniff(&bytes), Sniff::Tls | Sniff::NeedMore) {
            prop_assert_eq!(read(&bytes), Hello::Not);
        }
    }
}
