//! What people may see of the mesh's traffic.
//!
//! Answers from memory; nothing here changes anything.

use std::sync::Arc;
use std::time::SystemTime;

use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::control::desk::Desk;
use crate::wire::v1;
use crate::wire::v1::observe_server::Observe;

/// Serves `outrigger.v1.Observe`.
pub struct ObserveService {
    desk: Arc<Desk>,
}

impl ObserveService {
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }
}

#[async_trait]
impl Observe for ObserveService {
    async fn plaintext(
        &self,
        request: Request<v1::PlaintextRequest>,
    ) -> Result<Response<v1::PlaintextResponse>, Status> {
        let v1::PlaintextRequest { namespace } = request.into_inner();
        let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let desk = &self.desk;
        let seen = desk.plaintext.seen(namespace, &desk.catalog, SystemTime::now());
        Ok(Response::new(convert::plaintext(seen, desk.sessions.counts().live)))
    }
}
