//! Asks the API server whose a service account's token is.
//!
//! Only a token for us (audience `outrigger`) that is bound to a pod counts: it ends with the pod,
//! and it says which pod it is. What the server said is told to whoever showed the token; that it
//! couldn't be asked is another matter, and worth trying again.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::time::timeout;

use crate::control::membership::{Bearer, Review, ReviewError};
use crate::http::respond::chain;

/// What our tokens are for.
pub const AUDIENCE: &str = "outrigger";
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(5);
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Asks it.
pub struct Reviewer(pub Client);

impl Review for Reviewer {
    fn review<'a>(
        &'a self,
        token: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Bearer, ReviewError>> + Send + 'a>> {
        Box::pin(async move {
            let spec = TokenReviewSpec {
                audiences: Some(vec![AUDIENCE.to_owned()]),
                token: Some(token.to_owned()),
            };
            let asked = TokenReview { metadata: ObjectMeta::default(), spec, status: None };
            let reviews = Api::<TokenReview>::all(self.0.clone());
            let params = PostParams::default();
            match timeout(PATIENCE, reviews.create(&params, &asked)).await {
                Ok(Ok(answer)) => bearer(answer.status.unwrap_or_default()),
                Ok(Err(kube::Error::Api(status))) => Err(ReviewError::NotAsked(status.message)),
                Ok(Err(error)) => Err(ReviewError::NotAsked(chain(&error))),
                Err(_) => {
                    Err(ReviewError::NotAsked(format!("it did not answer within {PATIENCE:?}")))
                }
            }
        })
    }
}

/// Whose a token is, by the server's answer.
fn bearer(status: TokenReviewStatus) -> Result<Bearer, ReviewError> {
    let refused = |why: &str| ReviewError::Refused(why.to_owned());
    if status.authenticated != Some(true) {
        let why = status.error.filter(|error| !error.is_empty());
        return Err(ReviewError::Refused(why.unwrap_or_else(|| "it is nobody's".to_owned())));
    }
    // A server that doesn't know of audiences takes tokens that were made for others.
    if !status.audiences.iter().flatten().any(|audience| audience == AUDIENCE) {
        return Err(refused("it was made for another audience than `outrigger`"));
    }
    let user = status.user.unwrap_or_default();
    let username = user.username.unwrap_or_default();
    let account = username.strip_prefix("system:serviceaccount:");
    let Some((namespace, service_account)) = account.and_then(|account| account.split_once(':'))
    else {
        return Err(ReviewError::Refused(format!("it is {username}'s, no service account's")));
    };
    let extra = user.extra.unwrap_or_default();
    let one = |key: &str| match extra.get(key).map(Vec::as_slice) {
        Some([one]) if !one.is_empty() => Some(one.clone()),
        _ => None,
    };
    let (Some(pod), Some(uid)) = (one(POD_NAME), one(POD_UID)) else {
        return Err(refused(
            "it is not bound to a pod: mount a projected service-account token with the audience \
             `outrigger`",
        ));
    };
    Ok(Bearer {
        namespace: namespace.to_owned(),
        service_account: service_account.to_owned(),
        pod,
        uid,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn answer(change: impl FnOnce(&mut Value)) -> TokenReviewStatus {
        let mut status = json!({
            "authenticated": true,
            "audiences": ["outrigger"],
            "user": {
                "username": "system:serviceaccount:shop:web",
                "extra": {POD_NAME: ["web-1"], POD_UID: ["u-1"]},
            },
        });
        change(&mut status);
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn only_a_pods_token_for_us_is_somebodys() {
        let taken = bearer(answer(|_| {})).expect("taken");
        let expected = ("shop", "web", "web-1", "u-1");
        let Bearer { namespace, service_account, pod, uid } = &taken;
        assert_eq!((&**namespace, &**service_account, &**pod, &**uid), expected);
        type Row = (fn(&mut Value), &'static str);
        let rows: &[Row] = &[
            (|s| s["authenticated"] = json!(false), "nobody's"),
            (|s| s["authenticated"] = json!(null), "nobody's"),
            (
                |s| *s = json!({"authenticated": false, "error": "token has expired"}),
                "token has expired",
            ),
            (|s| s["audiences"] = json!([]), "audience"),
            (|s| s["audiences"] = json!(null), "audience"),
            (|s| s["audiences"] = json!(["vault"]), "audience"),
            (|s| s["user"]["username"] = json!("admin"), "admin"),
            (|s| s["user"]["username"] = json!("system:serviceaccount:shop"), "no service account"),
            (|s| s["user"]["extra"] = json!({}), "not bound to a pod"),
            (|s| s["user"]["extra"][POD_UID] = json!([]), "not bound to a pod"),
            (|s| s["user"]["extra"][POD_NAME] = json!(["a", "b"]), "not bound to a pod"),
        ];
        for (change, word) in rows {
            let refused = bearer(answer(change)).expect_err("refused");
            assert!(
                matches!(&refused, ReviewError::Refused(why) if why.contains(word)),
                "{refused}"
            );
        }
    }
}
