//! Outrigger: a service mesh. A sidecar beside every app takes its inbound and outbound traffic.
//!
//! # The house
//!
//! A room imports only from floors below its own; rooms on one floor don't see each other and share
//! nouns in [`model`]. The test `floors` keeps it.
//!
//! | floor | rooms | what they are for |
//! |---|---|---|
//! | 9 | `cli` | arguments in, exit codes out |
//! | 8 | [`app`] `demo` | wiring: builds rooms, owns the drain; a mesh to look at |
//! | 7 | [`config`] | every room's settings, from files, environment and flags |
//! | 6 | [`admin`] [`probes`] | live state out; kubelet's questions to the app |
//! | 5 | [`inbound`] [`outbound`] `control` | the two wings; they never meet; the control plane |
//! | 4 | [`serve`] [`dial`] [`agent`] [`export`] | connections from the near side, to the far side; where identity and the picture of the mesh come from; spans to collectors |
//! | 3 | [`tls`] [`route`] [`access`] [`balance`] [`circuit`] [`retry`] [`limit`] | decisions, each a synchronous core |
//! | 2 | [`http`] [`tcp`] [`detect`] [`identity`] [`resources`] [`wire`] [`intercept`] | protocols and formats |
//! | 1 | [`runtime`] [`telemetry`] [`jwt`] | threads, time, sockets, drain; records; tokens and what they claim |
//! | 0 | [`model`] | nouns |
//!
//! # Threads
//!
//! The data plane is `workers` threads, each a current-thread runtime: a connection is born, served
//! and finished on one of them, without locks or wake-ups across threads. One more thread, the
//! process's first, does everything else: identity, resources, admin, signals. What crosses is
//! immutable snapshots behind one atomic pointer, and the atomics of a [`model::Endpoint`].
//!
//! # The way of a request
//!
//! `outbound::serve`: check → target → admit (route → filters → limits) → faults → { circuit →
//! endpoint → connect → send } per attempt → what stands in → answer. Then, in the other sidecar,
//! `inbound::serve`: check → deadline → access → rate limits → prepare → a place → app → answer.
//! Each is one function to read, top to bottom.

#[cfg(feature = "proxy")]
pub mod access;
#[cfg(feature = "proxy")]
pub mod admin;
#[cfg(feature = "proxy")]
pub mod agent;
#[cfg(feature = "proxy")]
pub mod app;
#[cfg(feature = "proxy")]
pub mod balance;
#[cfg(feature = "proxy")]
pub mod circuit;
#[cfg(feature = "proxy")]
pub mod cli;
#[cfg(feature = "proxy")]
pub mod config;
#[cfg(feature = "control")]
pub mod control;
#[cfg(all(feature = "proxy", feature = "control"))]
pub mod demo;
#[cfg(feature = "proxy")]
pub mod detect;
#[cfg(feature = "proxy")]
pub mod dial;
#[cfg(feature = "proxy")]
pub mod export;
pub mod http;
pub mod identity;
#[cfg(feature = "proxy")]
pub mod inbound;
#[cfg(feature = "proxy")]
pub mod intercept;
pub mod jwt;
#[cfg(feature = "proxy")]
pub mod limit;
pub mod model;
#[cfg(feature = "proxy")]
pub mod outbound;
#[cfg(feature = "proxy")]
pub mod probes;
pub mod resources;
#[cfg(feature = "proxy")]
pub mod retry;
#[cfg(feature = "proxy")]
pub mod route;
pub mod runtime;
#[cfg(feature = "proxy")]
pub mod serve;
pub mod tcp;
pub mod telemetry;
pub mod tls;
pub mod wire;
