//! The sidecar pair over real sockets and real processes.
//!
//! Scenarios are written for what the documentation promises, not for how it is kept: each starts
//! the processes it needs, speaks to them byte by byte where bytes matter, and asks what the apps
//! saw. `OUTRIGGER_LONG=1` adds the sizes that take long.

mod harness;

mod aborts;
mod access;
mod access_mtls;
mod admin;
mod attacks;
mod by_host;
mod ca;
mod control_crash;
mod control_failure;
mod control_identity;
mod control_plane;
mod control_routes;
mod cut_short;
mod dashboard;
mod deadlines;
mod demo;
mod detection;
mod exit_with_app;
mod explain;
mod grpc;
mod http1;
mod http1_headers;
mod http2;
mod identity;
mod interception;
mod lifecycle;
mod limits;
mod observability;
mod panics;
mod pods;
mod policy;
mod probes;
mod profile;
mod rates;
mod resilience;
mod rest;
mod revocation;
mod routing;
mod seeing;
mod storms;
mod strictness;
mod tapping;
mod tcp;
mod tickets;
mod tracing;
mod tunnels;
mod two_hosts;
mod upgrade;
mod waiting;
