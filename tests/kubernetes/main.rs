//! The control plane in a cluster: against a real API server, with real sidecars.
//!
//! `KUBEBUILDER_ASSETS` names a folder with `kube-apiserver` and `etcd`; without it `transcripts` is
//! played before what a real one said when it was recorded, and everything else says so and passes.
//! There is no kubelet: what one would write (a pod's status, endpoint slices) is written by the
//! scenario. A real server runs in a network namespace of its own, which takes root.

mod harness;

mod configuring;
mod install;
mod joining;
mod judging;
mod replicas;
mod serving;
mod state;
mod transcripts;
mod watching;
