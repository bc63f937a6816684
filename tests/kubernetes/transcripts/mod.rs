//! Scenarios of which the API server's part is on record, so that they run without one.
//!
//! Each scenario runs our own code against an API server. Where `KUBEBUILDER_ASSETS` names a folder
//! with one (see the README), it runs against that; and always against what a real one said when
//! the scenario was recorded, which stands beside this file, its version in the first line
//! ([`transcript`] says how it is written, [`replay`] how it is followed, `planted` that it objects).
//! To record anew, when a scenario or what we ask for has changed:
//!
//! ```sh
//! TRANSCRIPTS=record KUBEBUILDER_ASSETS=/usr/local/kubebuilder/bin \
//!     cargo test --test kubernetes -- transcripts --skip planted
//! ```
//!
//! Nothing private is in a transcript: clusters are made for it and gone after it, roots are public,
//! and the signatures of tokens are left out. A scenario looks at the server only by waiting for a
//! condition, makes its writes one by one, and ends when our code has nothing more to ask for: what
//! it asks for on the way out would be on some records, and missed or too many before others.

mod applying;
mod call;
mod compare;
mod door;
mod injecting;
mod people;
mod planted;
mod record;
mod replay;
mod script;
mod stage;
mod standing;
mod tokens;
mod transcript;
mod validating;
mod watching;
mod way;
