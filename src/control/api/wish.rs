//! What a join token shall be, checked: everything that is wrong with it is said at once.
//!
//! Names follow the rules of the resources that will be registered under them, and ranges of
//! addresses are kept in one spelling. Called by `Tokens`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use tonic::Status;

use crate::control::grant::{self, Grant};
use crate::resources::names::{is_dns_label, is_dns_subdomain, is_label_key, is_label_value};
use crate::resources::quote;
use crate::wire::v1;

const MIN_TTL: Duration = Duration::from_secs(1);
/// How long a token may live. A year, arbitrary: who needs longer wants a certificate.
const MAX_TTL: Duration = Duration::from_secs(365 * 24 * 3600);
/// How many may join with one. Arbitrary.
const MAX_USES: u32 = 10_000;
/// Problems beyond these are counted only: an error travels in a header.
const MAX_PROBLEMS: usize = 20;

/// A token that can be made.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    pub grant: Grant,
    pub ttl: Duration,
    pub uses: u32,
}

impl TryFrom<v1::CreateTokenRequest> for Wish {
    /// INVALID_ARGUMENT with everything that is wrong.
    type Error = Status;

    fn try_from(request: v1::CreateTokenRequest) -> Result<Self, Status> {
        let v1::CreateTokenRequest { namespace, service_account, labels, address, ttl_ms, uses } =
            request;
        let labels: BTreeMap<String, String> = labels.into_iter().collect();
        let ttl = Duration::from_millis(ttl_ms);
        let mut problems = Problems::default();
        problems.of_names(&namespace, &service_account);
        problems.of_labels(&labels);
        let range = grant::range(&address);
        problems.unless(address.is_empty() || range.is_some(), || {
            let what = "an address, or a range such as 10.0.0.0/24";
            format!("the address must be {what}, not {}", quote(&address))
        });
        problems.unless((MIN_TTL..=MAX_TTL).contains(&ttl), || {
            format!("it must last for 1 second to 365 days, not for {} s", ttl.as_secs_f64())
        });
        problems.unless((1..=MAX_USES).contains(&uses), || {
            format!("it must have 1 to {MAX_USES} uses, not {uses}")
        });
        problems.refuse()?;
        let address = range.map(|range| canonical(range).to_string());
        Ok(Self { grant: Grant { namespace, service_account, labels, address }, ttl, uses })
    }
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn unless(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }

    fn of_names(&mut self, namespace: &str, service_account: &str) {
        self.unless(is_dns_label(namespace), || {
            let what = "at most 63 lower-case letters, digits and inner `-`";
            format!("the namespace must be {what}, not {}", quote(namespace))
        });
        self.unless(is_dns_subdomain(service_account), || {
            let what = "at most 253 lower-case letters, digits, inner `-` and `.`";
            format!("the service account must be {what}, not {}", quote(service_account))
        });
    }

    fn of_labels(&mut self, labels: &BTreeMap<String, String>) {
        for (key, value) in labels {
            self.unless(is_label_key(key), || format!("{} is not a label's name", quote(key)));
            self.unless(is_label_value(value), || {
                let what = "at most 63 letters, digits, inner `-`, `_` and `.`";
                format!("the label {} must be {what}, not {}", quote(key), quote(value))
            });
        }
    }

    fn refuse(mut self) -> Result<(), Status> {
        let more = self.0.len().saturating_sub(MAX_PROBLEMS);
        self.0.truncate(MAX_PROBLEMS);
        self.unless(more == 0, || format!("and {more} more"));
        if self.0.is_empty() { Ok(()) } else { Err(Status::invalid_argument(self.0.join("; "))) }
    }
}

/// The range without host bits, and IPv4 as IPv4, which is what is compared with it.
fn canonical(range: IpNet) -> IpNet {
    let mapped = match (range.addr(), range.addr().to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(ip)) => {
            let length = range.prefix_len().checked_sub(96);
            length.and_then(|length| Ipv4Net::new(ip, length).ok())
        }
        _ => None,
    };
    mapped.map_or(range, IpNet::V4).trunc()
}
