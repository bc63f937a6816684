//! Which rule a request falls under, and where it goes.
//!
//! A service without routes of its own has one rule that takes everything to its own endpoints; the
//! table is compiled when the snapshot is built, and matching allocates nothing.
//! Called by the outbound path and by whoever explains it.

use std::sync::Arc;

use crate::model::Reason;

/// One rule, compiled.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// What metrics, logs and pages call it.
    pub name: Arc<str>,
}

/// All rules of a service, in the order of precedence.
#[derive(Debug)]
pub struct Table {
    rules: Vec<Route>,
}

impl Table {
    /// The table of a service that no route resource names.
    pub fn single() -> Self {
        Self { rules: vec![Route { name: "default".into() }] }
    }

    /// The index of the first rule that matches.
    ///
    /// # Errors
    /// [`Reason::NoRoute`] when none does.
    pub fn resolve(&self, _request: &http::request::Parts) -> Result<usize, Reason> {
        if self.rules.is_empty() { Err(Reason::NoRoute) } else { Ok(0) }
    }

    pub fn rules(&self) -> &[Route] {
        &self.rules
    }
}
