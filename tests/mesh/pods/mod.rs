//! Apps that know nothing of a mesh, in pods whose connections are intercepted.
//!
//! Every pod is a network namespace with the real rules, a sidecar of its own user and an app of
//! another; services have addresses that no host has.

mod crash;
mod databases;
mod exclusions;
mod lifecycle;
mod loops;
mod own_ip;
mod protocols;
mod refused;
mod strangers;
mod tproxy;
