//! Certificates, keys, bundles and signing requests: whatever the bytes, read or refused; and the
//! identity of a leaf that is read is one that is written in one way.

use outrigger::control::ca::SigningRequest;
use outrigger::identity::{Leaf, TrustBundle, certificates, private_key};
use outrigger::model::SpiffeId;

pub fn hold(data: &[u8]) {
    if let Ok(leaf) = Leaf::from_der(data)
        && let Ok(id) = leaf.id()
    {
        assert_eq!(SpiffeId::parse(id.as_str()).ok().as_ref(), Some(&id), "an id of two writings");
        assert_eq!(leaf.uri(), id.as_str(), "an id that is not what the certificate says");
    }
    if let Ok(chain) = certificates(data) {
        for certificate in &chain {
            let _refused = Leaf::from_der(certificate).is_err();
        }
    }
    let _refused = private_key(data).is_err();
    if let Ok(bundle) = TrustBundle::from_pem(data, 1) {
        assert!(!bundle.roots().is_empty(), "a bundle that trusts nobody is one that is refused");
        let again = TrustBundle::from_pem(bundle.to_pem().as_bytes(), 1);
        assert!(again.expect("what was printed is read").is_same(&bundle), "another bundle");
    }
    let id = SpiffeId::parse("spiffe://cluster.local/ns/default/sa/web").expect("an id");
    let _refused = SigningRequest::read(data, &id).is_err();
}
