//! What somebody who joins may be: the identity, and what may be registered under it.
//!
//! Bound to a join token when it is made, kept with the enrolment when it is used, and compared with
//! every registration. A doubt is a refusal: labels that were not granted are not taken.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::model::{SpiffeId, TrustDomain};

/// The right to be a service account's workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    pub namespace: String,
    pub service_account: String,
    /// Every label that is registered must be one of these.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The addresses that may be registered; absent: the one that the workload connects from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Grant {
    /// `None` when the names can't be part of an id.
    pub fn identity(&self, trust_domain: &TrustDomain) -> Option<SpiffeId> {
        SpiffeId::new(trust_domain, &self.namespace, &self.service_account)
    }

    /// What of a registration was not granted, each in a sentence; empty: all of it was.
    pub fn objections(
        &self,
        labels: &BTreeMap<String, String>,
        address: IpAddr,
        connected_from: IpAddr,
    ) -> Vec<String> {
        let granted = |(key, value): &(&String, &String)| self.labels.get(*key) == Some(*value);
        let mut objections: Vec<String> = labels
            .iter()
            .filter(|label| !granted(label))
            .map(|(key, value)| {
                format!(
                    "the label {key}={value} is not among those of the token that it joined with: \
                     make one with --label {key}={value}, or remove the label"
                )
            })
            .collect();
        if !self.allows(address, connected_from) {
            let allowed = self
                .address
                .clone()
                .unwrap_or_else(|| format!("{connected_from}, where it connects from"));
            objections.push(format!(
                "the address {address} is not one that its token allows ({allowed}): make one with \
                 --address {address}"
            ));
        }
        objections
    }

    fn allows(&self, address: IpAddr, connected_from: IpAddr) -> bool {
        match &self.address {
            None => address.to_canonical() == connected_from.to_canonical(),
            Some(range) => {
                range.parse::<IpNet>().is_ok_and(|range| range.contains(&address.to_canonical()))
            }
        }
    }
}

/// An address, or a range in CIDR notation, as a range.
pub fn range(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn only_what_was_granted_is_taken() {
        let grant = |address: Option<&str>| Grant {
            namespace: "shop".into(),
            service_account: "web".into(),
            labels: labels(&[("app", "web"), ("tier", "front")]),
            address: address.map(str::to_owned),
        };
        type Pairs = &'static [(&'static str, &'static str)];
        let rows: &[(Pairs, Option<&str>, &str, &str, usize)] = &[
            (&[("app", "web")], None, "10.0.0.1", "10.0.0.1", 0),
            (&[], None, "10.0.0.1", "::ffff:10.0.0.1", 0),
            (&[("app", "db")], None, "10.0.0.1", "10.0.0.1", 1),
            (&[("other", "web")], None, "10.0.0.1", "10.0.0.1", 1),
            (&[("app", "web")], None, "10.0.0.2", "10.0.0.1", 1),
            (&[("app", "web")], Some("10.0.0.0/24"), "10.0.0.2", "192.168.0.1", 0),
            (&[("app", "db")], Some("10.0.0.0/24"), "10.0.1.2", "10.0.0.1", 2),
            (&[("app", "web")], Some("fd00::/8"), "fd00::1", "10.0.0.1", 0),
        ];
        for (wanted, range, address, from, objections) in rows {
            let found = grant(*range).objections(
                &labels(wanted),
                address.parse().expect("an address"),
                from.parse().expect("an address"),
            );
            assert_eq!(found.len(), *objections, "{wanted:?} {range:?} {address}: {found:?}");
        }
    }
}
