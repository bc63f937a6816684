//! What the sidecar offers and asks for itself: its app's ports, and its next certificate.
//!
//! Each is answered in the session; a refusal says why and ends nothing. A workload that joined is
//! known from what it registers; a pod from the cluster alone, so that what its sidecar says of it is
//! not taken. Only that it is about to leave is: it knows so first.

use std::sync::Arc;
use std::time::SystemTime;

use tonic::Status;
use tracing::{info, warn};

use super::Session;
use crate::control::api::convert::manifest_of;
use crate::control::api::identity::{certificate, renew};
use crate::control::registrar::{Offer, Refusal};
use crate::http::respond::chain;
use crate::wire::v1;
use crate::wire::v1::to_sidecar::Message as Tell;

impl Session {
    pub(super) async fn renew(&mut self, request: v1::CertificateRequest) -> Result<(), Status> {
        use v1::certificate_answer::Answer;
        let (desk, id) = (Arc::clone(&self.desk), &self.peer.id);
        let csr = &request.signing_request;
        let answer = match renew(&desk, csr, id, self.enrollment, SystemTime::now()).await {
            Ok(issued) => {
                desk.metrics.renewed.inc();
                info!(identity = %id, workload = self.workload, serial = issued.serial, "certificate renewed");
                self.until = issued.not_after;
                self.entry.renewed(issued.not_before, issued.not_after);
                Answer::Certificate(certificate(&issued))
            }
            Err(refusal) => {
                desk.metrics.certificates_refused.inc();
                warn!(identity = %id, workload = self.workload, "a renewal was refused: {refusal}");
                Answer::Refusal(refusal)
            }
        };
        self.tell(Tell::Certificate(v1::CertificateAnswer { answer: Some(answer) })).await
    }

    pub(super) async fn register(&mut self, offer: v1::Registration) -> Result<(), Status> {
        if let Some(pod) = &self.pod {
            // What it offers is known from the cluster, and only from there; that it is here is not.
            self.desk.catalog.withdraw(&pod.name(), false);
            return self.tell(Tell::Registration(v1::RegistrationAnswer::default())).await;
        }
        let Some(held) = self.desk.catalog.enrollment(self.enrollment) else {
            return Err(Status::unauthenticated("this workload's enrolment was revoked"));
        };
        let identity = self.peer.id.clone();
        let manifest = manifest_of(&identity, &self.workload, &offer, self.connected_from);
        let offer = Offer {
            session: self.subscriptions.mailbox().id(),
            identity,
            enrollment: self.enrollment,
            connected_from: self.connected_from,
            manifest,
        };
        let desk = Arc::clone(&self.desk);
        let taken = desk.registrar.register(offer, &held.value.grant, SystemTime::now()).await;
        let errors = match taken {
            Ok(name) => {
                self.registered = Some(name);
                // Whoever hears that it is registered has heard who may call it as such.
                self.govern().await?;
                Vec::new()
            }
            Err(Refusal::Offer(errors)) => {
                warn!(identity = %self.peer.id, workload = self.workload, "a registration was refused: {}", errors.join("; "));
                errors
            }
            Err(Refusal::Store(error)) => {
                return Err(Status::unavailable(chain(&error)));
            }
        };
        self.tell(Tell::Registration(v1::RegistrationAnswer { errors })).await
    }

    pub(super) async fn withdraw(&mut self) -> Result<(), Status> {
        if let Some(pod) = &self.pod {
            // The cluster says so too, a little later.
            self.desk.catalog.withdraw(&pod.name(), true);
            return self.tell(Tell::Withdrawn(v1::Withdrawn {})).await;
        }
        let name: Arc<str> = format!("{}/{}", self.peer.id.namespace(), self.workload).into();
        let session = self.subscriptions.mailbox().id();
        self.registered = None;
        let withdrawn = self.desk.registrar.withdraw(&name, session, self.enrollment).await;
        withdrawn.map_err(|error| Status::unavailable(chain(&error)))?;
        self.tell(Tell::Withdrawn(v1::Withdrawn {})).await
    }
}
