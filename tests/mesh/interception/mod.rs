//! Unchanged apps in network namespaces whose connections go through the sidecar.

mod pod;
mod rules;
mod trouble;
