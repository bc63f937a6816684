//! The rooms whose atomics keep a protocol among workers, with their own unit tests: circuits (one
//! word), budgets (a word a second), latencies (two halves), bulkheads and places (debts), exemplars
//! (a sequence lock), rate tables (one moment a key), endpoints (balance's estimates).
//!
//! The files are those of the program; this only puts them where they expect each other. Under Miri
//! threads are switched anywhere, stores are seen late as the memory model allows, and every race
//! and every use of bytes that nobody wrote is an error.
#![allow(dead_code, unused_imports, reason = "their callers are left out")]

include!("rooms.rs");
