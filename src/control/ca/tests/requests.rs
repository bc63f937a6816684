//! Signing requests as sidecars make them, and every other kind.

use rcgen::{
    Attribute, BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PublicKeyData, SanType, SignatureAlgorithm, SigningKey,
};

use super::*;

const API: &str = "spiffe://cluster.local/ns/shop/sa/api";

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

/// The DER of a request for `web`, bent by the caller.
fn bent(bend: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![uri(WEB)];
    bend(&mut params);
    let key = KeyPair::generate().expect("a key");
    params.serialize_request(&key).expect("a request").der().to_vec()
}

fn keyed(key: &impl SigningKey) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(WEB)];
    params.serialize_request(key).expect("a request").der().to_vec()
}

fn kind(alg: &'static SignatureAlgorithm) -> Vec<u8> {
    keyed(&KeyPair::generate_for(alg).expect("a key"))
}

/// Shows one public key, signs with another.
struct Impostor(Vec<u8>, KeyPair);

impl PublicKeyData for Impostor {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Impostor {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.1.sign(message)
    }
}

fn stolen() -> Vec<u8> {
    let victim = KeyPair::generate().expect("a key");
    keyed(&Impostor(victim.public_key_raw().to_vec(), KeyPair::generate().expect("a key")))
}

/// The same point in 33 bytes (SEC 1, 2.3.3).
fn compressed() -> Vec<u8> {
    let key = KeyPair::generate().expect("a key");
    let point = key.public_key_raw();
    let mut short = vec![2 + (point[64] & 1)];
    short.extend_from_slice(&point[1..33]);
    keyed(&Impostor(short, key))
}

/// A point that is on no curve.
fn nowhere() -> Vec<u8> {
    let mut point = vec![4];
    point.extend([7; 64]);
    keyed(&Impostor(point, KeyPair::generate().expect("a key")))
}

fn changed(find: &[u8], change: impl FnOnce(&mut u8)) -> Vec<u8> {
    let mut der = bent(|_| {});
    let at = memchr::memmem::rfind(&der, find).expect("it is in the request");
    change(&mut der[at + find.len() - 1]);
    der
}

/// Two bytes more, within the outermost sequence (`30 82 hi lo`, or `30 81 lo`).
fn stuffed() -> Vec<u8> {
    let mut der = bent(|_| {});
    let low = if der[1] == 0x82 { 3 } else { 2 };
    der[low] = der[low].checked_add(2).expect("a length that is not at its edge");
    der.extend([5, 0]);
    der
}

fn extended(oid: &[u64], content: &[u8]) -> Vec<u8> {
    bent(|p| p.custom_extensions.push(CustomExtension::from_oid_content(oid, content.to_vec())))
}

fn attributed() -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(WEB)];
    let key = KeyPair::generate().expect("a key");
    // challengePassword: SET { UTF8String "x" }.
    let password =
        Attribute { oid: &[1, 2, 840, 113549, 1, 9, 7], values: vec![0x31, 3, 12, 1, b'x'] };
    let request = params.serialize_request_with_attributes(&key, vec![password]);
    request.expect("a request").der().to_vec()
}

#[test]
fn what_is_right_is_taken() {
    let leaf = |p: &mut CertificateParams| {
        p.is_ca = IsCa::ExplicitNoCa;
        p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        p.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    };
    let one_end = |p: &mut CertificateParams| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    let subject = |p: &mut CertificateParams| {
        p.distinguished_name.push(rcgen::DnType::CommonName, "anything");
    };
    for der in [bent(|_| {}), bent(leaf), bent(one_end), bent(subject)] {
        let request = SigningRequest::read(&der, &id(WEB)).expect("a right request");
        assert_eq!(request.identity(), &id(WEB));
    }
}

#[test]
fn what_is_not_is_refused_in_its_own_words() {
    let san: &[u64] = &[2, 5, 29, 17];
    let expected = id(WEB);
    let many = |count| RequestError::ManyNames { count, expected: expected.clone() };
    let also = |name: SanType| bent(|p| p.subject_alt_names.push(name));
    let only = |name: SanType| bent(|p| p.subject_alt_names = vec![name]);
    let usage = |usage| bent(|p| p.key_usages = vec![usage]);
    let purpose = |purpose| bent(|p| p.extended_key_usages = vec![purpose]);
    let wrong = |found: &str| RequestError::WrongIdentity {
        found: found.into(),
        expected: expected.clone(),
    };
    let not_uri = RequestError::NotUri { expected: expected.clone() };
    let good = bent(|_| {});
    let rows: Vec<(Vec<u8>, RequestError)> = vec![
        (Vec::new(), RequestError::Malformed),
        (b"-----BEGIN CERTIFICATE REQUEST-----".to_vec(), RequestError::Malformed),
        (good[..good.len() - 1].to_vec(), RequestError::Malformed),
        (vec![0x30; 16 * 1024 + 1], RequestError::TooLong(16 * 1024 + 1)),
        ([&good[..], &[0]].concat(), RequestError::Trailing),
        ([&good[..], &good[..]].concat(), RequestError::Trailing),
        (stuffed(), RequestError::Trailing),
        (kind(&PKCS_ECDSA_P384_SHA384), RequestError::KeyKind),
        (kind(&PKCS_ED25519), RequestError::KeyKind),
        (compressed(), RequestError::KeyKind),
        (nowhere(), RequestError::Signature),
        (stolen(), RequestError::Signature),
        (changed(b"/sa/web", |last| *last = b'c'), RequestError::Signature),
        (only(uri(API)), wrong(API)),
        (
            only(uri("spiffe://other.mesh/ns/shop/sa/web")),
            wrong("spiffe://other.mesh/ns/shop/sa/web"),
        ),
        (
            only(uri("spiffe://cluster.local/ns/shop/sa/WEB")),
            wrong("spiffe://cluster.local/ns/shop/sa/WEB"),
        ),
        (only(SanType::DnsName("web.shop".try_into().expect("ASCII"))), not_uri),
        (
            bent(|p| p.subject_alt_names.clear()),
            RequestError::Nameless { expected: expected.clone() },
        ),
        (also(uri(WEB)), many(2)),
        (also(uri(API)), many(2)),
        (also(SanType::DnsName("web.shop".try_into().expect("ASCII"))), many(2)),
        (also(SanType::Rfc822Name("a@b.c".try_into().expect("ASCII"))), many(2)),
        (also(SanType::IpAddress([10, 0, 0, 1].into())), many(2)),
        (bent(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), RequestError::Ca),
        (bent(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))), RequestError::Ca),
        (usage(KeyUsagePurpose::KeyCertSign), RequestError::KeyUsage),
        (usage(KeyUsagePurpose::KeyEncipherment), RequestError::KeyUsage),
        (purpose(ExtendedKeyUsagePurpose::Any), RequestError::Purpose),
        (purpose(ExtendedKeyUsagePurpose::CodeSigning), RequestError::Purpose),
        (purpose(ExtendedKeyUsagePurpose::Other(vec![1, 2, 3])), RequestError::Purpose),
        (extended(&[2, 5, 29, 30], &[0x30, 0]), RequestError::Extension("2.5.29.30".into())),
        (extended(&[1, 2, 3, 4], &[5, 0]), RequestError::Extension("1.2.3.4".into())),
        (extended(&[2, 5, 29, 15], &[9]), RequestError::Malformed),
        (attributed(), RequestError::Attribute("1.2.840.113549.1.9.7".into())),
    ];
    for (row, (der, expected)) in rows.into_iter().enumerate() {
        let refused = SigningRequest::read(&der, &id(WEB)).expect_err(&format!("row {row}"));
        assert_eq!(refused, expected, "row {row}");
    }
    // A second list of names, whatever the parser makes of it.
    let name = [&[0x30, 2 + WEB.len() as u8, 0x86, WEB.len() as u8], WEB.as_bytes()].concat();
    assert!(SigningRequest::read(&extended(san, &name), &id(WEB)).is_err());
}

#[test]
fn no_changed_byte_gets_another_key_in() {
    let good = bent(|_| {});
    let key = SigningRequest::read(&good, &id(WEB)).expect("a right request");
    for index in 0..good.len() {
        let mut der = good.clone();
        der[index] ^= 1;
        if let Ok(request) = SigningRequest::read(&der, &id(WEB)) {
            assert_eq!(request, key, "byte {index}");
        }
    }
}

#[test]
fn the_fingerprint_is_the_keys() {
    let key = KeyPair::generate().expect("a key");
    let read = |der: &[u8]| SigningRequest::read(der, &id(WEB)).expect("a right request");
    let (first, again) = (read(&keyed(&key)), read(&keyed(&key)));
    assert_eq!(first.key_fingerprint(), again.key_fingerprint());
    assert_eq!(first.key_fingerprint().len(), 64);
    assert_ne!(first.key_fingerprint(), read(&bent(|_| {})).key_fingerprint());
}
