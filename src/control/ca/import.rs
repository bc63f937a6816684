//! A root and an issuer that were made elsewhere, checked whole before anything changes.
//!
//! Every fault is listed at once. What passes is what peers would take: the last check is theirs. The
//! root's key is not asked for. Callers: `changes`; the command line brings texts, and the control
//! plane's issuer files.

use std::fmt;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

use super::Error;
use super::authority::Setting;
use super::certificate::{Misfit, Pair, may_stand_above, read_key, to_pem, uri_of, uris};
use super::signing::try_out;
use super::trust::{Lineage, Origin};
use crate::http::respond::chain;
use crate::identity::{TrustBundle, certificates};

/// Bits of an RSA key below which nobody should trust it (NIST SP 800-57, until 2030).
const RSA_BITS: usize = 2048;

/// Texts in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// The root; of several, that which the issuer is below.
    pub root: String,
    /// The issuer, then what is between it and the root.
    pub issuer: String,
    /// The issuer's key.
    pub key: String,
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imported").finish_non_exhaustive()
    }
}

/// Something wrong with one of them: which, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `root`, `issuer` or `key`.
    pub of: &'static str,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.of, self.what)
    }
}

/// Reads and checks all of it.
pub(super) fn read(
    imported: &Imported,
    setting: &Setting,
    now: SystemTime,
) -> Result<Lineage, Error> {
    let mut faults = Vec::new();
    if *imported == Imported::default() {
        let what =
            "nothing is there yet, neither root nor issuer nor key: they are to be written first";
        fault(&mut faults, "issuer", what.to_owned());
        return Err(Error::Import(faults));
    }
    let roots = parsed("root", &imported.root, &mut faults);
    let issuers = parsed("issuer", &imported.issuer, &mut faults);
    if let Err(Misfit::Key(error) | Misfit::Certificate(error)) = read_key(imported.key.as_bytes())
    {
        fault(&mut faults, "key", chain(&*error));
    }
    // Some put the root behind the issuer.
    let between: Vec<_> = issuers.into_iter().filter(|der| !roots.contains(der)).collect();
    for (of, all) in [("root", &roots), ("issuer", &between)] {
        all.iter().for_each(|der| judge(of, der, setting, now, &mut faults));
    }
    if between.is_empty() && !roots.is_empty() {
        let what = "it is the root itself: an issuer below it is needed, so that the root's key can \
                    be kept away";
        fault(&mut faults, "issuer", what.to_owned());
    }
    if !faults.is_empty() {
        return Err(Error::Import(faults));
    }
    let issuer = to_pem(&between);
    let pair = Pair::read(issuer.as_bytes(), imported.key.as_bytes()).map_err(|misfit| {
        let (of, what) = match misfit {
            Misfit::Certificate(error) => ("issuer", chain(&*error)),
            Misfit::Key(error) => ("key", chain(&*error)),
            Misfit::Mismatch => ("key", "it is not the issuer's".to_owned()),
        };
        Error::Import(vec![Fault { of, what }])
    })?;
    let root = below(&roots, &pair, setting, now)?;
    Ok(Lineage {
        root: to_pem([&root]),
        root_key: None,
        issuer,
        issuer_key: imported.key.clone(),
        origin: Origin::Imported,
    })
}

fn fault(faults: &mut Vec<Fault>, of: &'static str, what: String) {
    faults.push(Fault { of, what });
}

fn parsed(of: &'static str, pem: &str, faults: &mut Vec<Fault>) -> Vec<CertificateDer<'static>> {
    certificates(pem.as_bytes()).unwrap_or_else(|error| {
        fault(faults, of, error.to_string());
        Vec::new()
    })
}

/// Everything that a single certificate can be asked.
fn judge(
    of: &'static str,
    der: &CertificateDer<'static>,
    setting: &Setting,
    now: SystemTime,
    faults: &mut Vec<Fault>,
) {
    let bundle = match TrustBundle::new(vec![der.clone()], 0) {
        Ok(bundle) => bundle,
        Err(error) => return fault(faults, of, chain(&error)),
    };
    let (held, (_, read)) = match parse_x509_certificate(der) {
        Ok(read) => (&bundle.roots()[0], read),
        Err(error) => return fault(faults, of, error.to_string()),
    };
    let mut say = |what: String| fault(faults, of, format!("{} {what}", held.subject));
    if held.not_after <= now {
        say(format!("ended{}: issue it again", super::at(&held.not_after)));
    }
    if held.not_before > now {
        say(format!("begins{}: wait, or set the clock right", super::at(&held.not_before)));
    }
    let usage = read.key_usage().ok().flatten();
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        say("may not sign certificates: issue it with the key usage keyCertSign".to_owned());
    }
    let others: Vec<String> = uris(der)
        .into_iter()
        .filter(|uri| uri.starts_with("spiffe://") && *uri != uri_of(&setting.trust_domain))
        .collect();
    if !others.is_empty() {
        let ours = uri_of(&setting.trust_domain);
        say(format!("is of {}, and this mesh is {ours}", others.join(", ")));
    }
    if let Some(weak) = weakness(&read) {
        say(weak);
    }
}

fn weakness(read: &X509Certificate<'_>) -> Option<String> {
    match read.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < RSA_BITS => {
            let bits = key.key_size();
            Some(format!("has an RSA key of {bits} bits: {RSA_BITS} are the least"))
        }
        Ok(PublicKey::DSA(_)) => Some("has a DSA key: use EC or RSA".to_owned()),
        Ok(_) => None,
        Err(_) => Some("has a key that can't be read: use EC or RSA".to_owned()),
    }
}

/// The root that peers would take the issuer's leaves under.
fn below(
    roots: &[CertificateDer<'static>],
    pair: &Pair,
    setting: &Setting,
    now: SystemTime,
) -> Result<CertificateDer<'static>, Error> {
    let mut why = "it is below none of the roots".to_owned();
    for root in roots {
        let Ok(bundle) = TrustBundle::new(vec![root.clone()], 0) else { continue };
        match try_out(pair, &setting.trust_domain, &bundle, now)? {
            Ok(()) if may_stand_above(root, pair.chain.len()) => return Ok(root.clone()),
            Ok(()) => why = "its root may not have so many issuers below it (path length)".into(),
            Err(error) => why = format!("nobody would take its certificates: {}", chain(&error)),
        }
    }
    Err(Error::Import(vec![Fault { of: "issuer", what: why }]))
}
