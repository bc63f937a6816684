//! The rooms whose atomics keep a protocol among workers, as the program has them, but with loom's
//! atomics: `models.rs` says what must hold of them.
#![allow(dead_code, unused_imports, reason = "their callers are left out")]

include!(concat!(env!("OUT_DIR"), "/rooms.rs"));
