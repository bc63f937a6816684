//! Certificates and bundles that are right, and each way to be wrong, with its sentence.

use std::error::Error as _;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, IsCa, SanType};

use super::issue::{Authority, Issued, leaf_params};
use super::{Leaf, Svid, TrustBundle, certificates, serial_text};
use crate::model::{SpiffeId, TrustDomain};

const HOUR: Duration = Duration::from_secs(3600);

fn authority() -> Authority {
    Authority::new(&TrustDomain::default()).expect("keys can be made")
}

fn web() -> SpiffeId {
    SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").expect("an id")
}

/// A leaf for `web`, bent by `bend`.
fn bent(bend: impl FnOnce(&mut CertificateParams)) -> Issued {
    let now = SystemTime::now();
    let mut params = leaf_params(&web(), now - HOUR, now + HOUR).expect("parameters");
    bend(&mut params);
    authority().sign(&params).expect("signed")
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ASCII"))
}

/// An error and its sources, as a log line shows them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

#[test]
fn an_svid_knows_what_was_issued() {
    let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let issued = authority().issue(&web(), begin, begin + HOUR).expect("issued");
    let svid = Svid::from_pem(issued.cert_pem.as_bytes(), issued.key_pem.as_bytes())
        .expect("a right pair");
    assert_eq!(*svid.id(), web());
    assert_eq!((svid.not_before(), svid.not_after()), (begin, begin + HOUR));
    assert_eq!(svid.chain().len(), 1);
    let leaf = Leaf::from_der(&svid.chain()[0]).expect("a leaf");
    assert_eq!(leaf.serial(), svid.serial());
    assert!(svid.serial().len() >= 32, "{}", svid.serial());
    let debug = format!("{svid:?}");
    assert!(debug.contains("sa/web") && !debug.contains("key"), "{debug}");
}

#[test]
fn other_names_beside_the_one_uri_are_fine() {
    let issued = bent(|params| params.subject_alt_names.push(dns("web.shop")));
    let svid = Svid::from_pem(issued.cert_pem.as_bytes(), issued.key_pem.as_bytes());
    assert_eq!(*svid.expect("one URI").id(), web());
}

#[test]
fn certificates_of_the_wrong_shape_are_refused() {
    type Bend = fn(&mut CertificateParams);
    let cases: [(&str, Bend, &str); 8] = [
        ("no alternative name", |p| p.subject_alt_names.clear(), "names no SPIFFE id"),
        ("a host name only", |p| p.subject_alt_names = vec![dns("web.shop")], "names no SPIFFE id"),
        (
            "two ids",
            |p| p.subject_alt_names.push(uri("spiffe://cluster.local/ns/a/sa/b")),
            "names 2 URIs",
        ),
        ("the same id twice", |p| p.subject_alt_names.push(uri(web().as_str())), "names 2 URIs"),
        (
            "another scheme",
            |p| p.subject_alt_names = vec![uri("https://cluster.local/ns/shop/sa/web")],
            "is not a workload's SPIFFE id",
        ),
        (
            "another path",
            |p| p.subject_alt_names = vec![uri("spiffe://cluster.local/web")],
            "is not a workload's SPIFFE id",
        ),
        (
            "a CA",
            |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            "the certificate is a CA's",
        ),
        (
            "ends before it begins",
            |p| std::mem::swap(&mut p.not_before, &mut p.not_after),
            "ends before it begins",
        ),
    ];
    for (case, bend, expected) in cases {
        let issued = bent(bend);
        let error =
            Svid::from_pem(issued.cert_pem.as_bytes(), issued.key_pem.as_bytes()).expect_err(case);
        assert!(chain(&error).contains(expected), "{case}: {}", chain(&error));
        assert!(!error.is_about_key(), "{case}");
    }
}

#[test]
fn files_that_are_not_a_pair_are_refused() {
    let (one, other) = (bent(|_| {}), bent(|_| {}));
    let (cert, key) = (one.cert_pem.as_str(), one.key_pem.as_str());
    let cut = |text: &str| text[..text.len() - 40].to_owned();
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let cases = [
        (cert, other.key_pem.as_str(), true, "not the certificate's"),
        (key, cert, false, "only a private key: are two files swapped"),
        (cert, cert, true, "only a certificate: are two files swapped"),
        ("", key, false, "it is empty"),
        (cert, " \n", true, "it is empty"),
        ("rubbish", key, false, "nothing in it is PEM"),
        (cert, &encrypted, true, "only an encrypted private key"),
        (&cut(cert), key, false, "no END line"),
        ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", key, false, "not base64"),
        (
            "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
            key,
            false,
            "not well-formed X.509",
        ),
        (
            cert,
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
            true,
            "private key can't be used",
        ),
    ];
    for (cert, key, about_key, expected) in cases {
        let error = Svid::from_pem(cert.as_bytes(), key.as_bytes()).expect_err(expected);
        let text = chain(&error);
        assert!(text.contains(expected), "{expected}: {text}");
        assert_eq!(error.is_about_key(), about_key, "{text}");
    }
}

#[test]
fn bytes_after_a_certificate_are_refused() {
    let issued = bent(|_| {});
    let mut der = certificates(issued.cert_pem.as_bytes()).expect("PEM")[0].to_vec();
    assert!(Leaf::from_der(&der).is_ok());
    der.push(0);
    let error = Leaf::from_der(&der).expect_err("one byte too many");
    assert!(error.to_string().contains("followed by 1 bytes"), "{error}");
}

#[test]
fn a_second_uri_counts_even_when_it_is_no_text() {
    let issued = bent(|p| p.subject_alt_names.push(uri("spiffe://cluster.local/ns/shop/sa/XXX")));
    let mut der = certificates(issued.cert_pem.as_bytes()).expect("PEM")[0].to_vec();
    let at = memchr::memmem::find(&der, b"XXX").expect("the second URI");
    der[at] = 0xff;
    let error = Leaf::from_der(&der).expect_err("two URIs");
    assert!(error.to_string().contains("names 2 URIs"), "{error}");
}

#[test]
fn serials_are_hexadecimal_without_padding() {
    for (bytes, text) in
        [(&[0x00, 0xff, 0x01][..], "ff01"), (&[0x0a], "0a"), (&[0], "00"), (&[], "00")]
    {
        assert_eq!(serial_text(bytes), text);
    }
}

#[test]
fn a_bundle_has_each_root_once() {
    let (one, two) = (authority(), authority());
    let pem = [one.root_pem(), two.root_pem(), one.root_pem()].concat();
    let bundle = TrustBundle::from_pem(pem.as_bytes(), 7).expect("two roots");
    assert_eq!((bundle.roots().len(), bundle.anchors().len()), (2, 2), "{bundle:?}");
    assert_eq!(bundle.generation(), 7);
    assert!(bundle.roots()[0].subject.starts_with("CN=cluster.local root"));
    assert_ne!(bundle.roots()[0].subject, bundle.roots()[1].subject);
    assert_eq!(bundle.expired(SystemTime::now()).count(), 0);
    let late = bundle.roots()[0].not_after + HOUR;
    assert_eq!(bundle.expired(late).count(), 2);
}

#[test]
fn bundles_without_a_root_or_with_more_than_roots_are_refused() {
    let root = authority();
    let leaf = bent(|_| {});
    let mixed = [root.root_pem(), &leaf.cert_pem].concat();
    for (pem, expected) in [
        ("", "it is empty"),
        (leaf.key_pem.as_str(), "only a private key"),
        (leaf.cert_pem.as_str(), "certificate 1 (CN=workload) is no CA"),
        (mixed.as_str(), "certificate 2 (CN=workload) is no CA"),
    ] {
        let error = TrustBundle::from_pem(pem.as_bytes(), 1).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.source().is_none());
    }
}
