//! `outrigger-proxy init`: the rules that bring a network namespace's connections to the sidecar.
//!
//! It runs once, before the app and the sidecar do, as the init container that the injector writes.
//! The arguments are part of that contract. All that is wrong with them is told at once.

use std::process::ExitCode;

use clap::Args;

use super::{FAILED, complain, emit, refuse};
use crate::intercept::{self, Backend, Mode, Settings};

pub(super) const EXAMPLES: &str = "Examples:
  outrigger-proxy init --dry-run
  outrigger-proxy init --exclude-outbound-cidrs 169.254.169.254 --exclude-inbound-ports 9100,9200-9210
  outrigger-proxy init --undo

Lists are separated by commas. What is excluded goes over what is included; without an include
list everything is. It needs the capability NET_ADMIN. Running it again replaces the rules.";

#[derive(Args, Debug)]
pub(super) struct Init {
    /// Where the sidecar takes what the app sends
    #[arg(long, value_name = "PORT", default_value = "15001")]
    outbound_port: String,
    /// Where the sidecar takes what is sent to the app
    #[arg(long, value_name = "PORT", default_value = "15006")]
    inbound_port: String,
    /// Who the sidecar runs as: what it sends is not intercepted again (repeatable)
    #[arg(long, value_name = "UID", default_value = "2102")]
    uid: Vec<String>,
    /// How inbound connections are caught: redirect, or tproxy, which lets the app see its clients'
    /// addresses and needs NET_ADMIN in the sidecar too
    #[arg(long, value_name = "MODE", default_value = "redirect")]
    mode: String,
    /// Intercept only what is sent to these networks
    #[arg(long, value_name = "CIDR,…")]
    include_outbound_cidrs: Vec<String>,
    /// Never intercept what is sent to these networks
    #[arg(long, value_name = "CIDR,…")]
    exclude_outbound_cidrs: Vec<String>,
    /// Intercept only what is sent to these ports (ranges: 8000-8010)
    #[arg(long, value_name = "PORT,…")]
    include_outbound_ports: Vec<String>,
    /// Never intercept what is sent to these ports
    #[arg(long, value_name = "PORT,…")]
    exclude_outbound_ports: Vec<String>,
    /// Intercept only what comes to these ports
    #[arg(long, value_name = "PORT,…")]
    include_inbound_ports: Vec<String>,
    /// Never intercept what comes to these ports; the sidecar's own never are
    #[arg(long, value_name = "PORT,…")]
    exclude_inbound_ports: Vec<String>,
    /// Never intercept what comes or goes by these network interfaces
    #[arg(long, value_name = "NAME,…")]
    exclude_interfaces: Vec<String>,
    /// What puts the rules into force: nft (no program is needed), iptables, or auto: nft where the
    /// kernel takes it
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    backend: String,
    /// Print what would be done, and do nothing
    #[arg(long, conflicts_with = "undo")]
    dry_run: bool,
    /// Remove everything that init has made
    #[arg(long)]
    undo: bool,
    /// Don't prove by connections that the rules work
    #[arg(long)]
    no_check: bool,
}

/// Does it.
pub(super) fn init(arguments: &Init) -> ExitCode {
    let mut faults = Faults::default();
    let settings = arguments.settings(&mut faults);
    let backend = faults.one("--backend", &arguments.backend, |text| match text {
        "auto" => Ok(Backend::Auto),
        "nft" => Ok(Backend::Nft),
        "iptables" => Ok(Backend::Iptables),
        _ => Err("it is auto, nft or iptables".into()),
    });
    let (Some(settings), Some(backend)) = (settings, backend) else { return refuse(&faults.0) };
    if !faults.0.is_empty() {
        return refuse(&faults.0);
    }
    if arguments.dry_run {
        return emit(&intercept::script(&settings, backend));
    }
    let done = if arguments.undo {
        intercept::undo().map(|()| complain(&"nothing is intercepted any more"))
    } else {
        intercept::install(&settings, backend, !arguments.no_check)
            .map(|done| told(&settings, &done))
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::from(FAILED)
        }
    }
}

fn told(settings: &Settings, done: &intercept::Done) {
    let Settings { outbound_port, inbound_port, .. } = settings;
    let backend = done.backend;
    let ports = format!("outbound at {outbound_port}, inbound at {inbound_port}");
    complain(&format!("connections are intercepted by {backend}: {ports}"));
    done.proved.iter().for_each(|what| complain(&format!("proved: {what}")));
    done.warnings.iter().for_each(|what| complain(&format!("warning: {what}")));
}

/// Everything that is wrong, a line each.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn one<T>(
        &mut self,
        flag: &str,
        text: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = read(text.trim());
        value.map_err(|why| self.0.push(format!("error: {flag}: {text:?}: {why}"))).ok()
    }

    /// What stands between commas, however often the flag is given; nothing is no entry.
    fn list<T>(
        &mut self,
        flag: &str,
        texts: &[String],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let entries = texts.iter().flat_map(|text| text.split(','));
        let entries = entries.filter(|text| !text.trim().is_empty());
        entries.filter_map(|text| self.one(flag, text, &read)).collect()
    }
}

impl Init {
    fn settings(&self, faults: &mut Faults) -> Option<Settings> {
        let port = |text: &str| match text.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err("a port is 1 to 65535".into()),
        };
        let outbound_port = faults.one("--outbound-port", &self.outbound_port, port);
        let inbound_port = faults.one("--inbound-port", &self.inbound_port, port);
        if outbound_port.is_some() && outbound_port == inbound_port {
            faults.0.push("error: --inbound-port: the outbound port is the same".into());
        }
        // The highest number means "nobody" to the kernel.
        let uid = |text: &str| match text.parse() {
            Ok(uid) if uid < u32::MAX => Ok(uid),
            _ => Err("a user is given by number".into()),
        };
        let mode = faults.one("--mode", &self.mode, |text| match text {
            "redirect" => Ok(Mode::Redirect),
            "tproxy" => Ok(Mode::Tproxy),
            _ => Err("it is redirect or tproxy".into()),
        });
        let uids = faults.list("--uid", &self.uid, uid);
        if uids.is_empty() && faults.0.is_empty() {
            faults.0.push("error: --uid: without the sidecar's user it intercepts itself".into());
        }
        let mut nets = |flag: &str, texts: &[String]| faults.list(flag, texts, intercept::network);
        let include_outbound = nets("--include-outbound-cidrs", &self.include_outbound_cidrs);
        let exclude_outbound = nets("--exclude-outbound-cidrs", &self.exclude_outbound_cidrs);
        let mut ports =
            |flag: &str, texts: &[String]| faults.list(flag, texts, |text| text.parse());
        Some(Settings {
            uids,
            include_outbound,
            exclude_outbound,
            include_outbound_ports: ports("--include-outbound-ports", &self.include_outbound_ports),
            exclude_outbound_ports: ports("--exclude-outbound-ports", &self.exclude_outbound_ports),
            include_inbound_ports: ports("--include-inbound-ports", &self.include_inbound_ports),
            exclude_inbound_ports: ports("--exclude-inbound-ports", &self.exclude_inbound_ports),
            exclude_interfaces: faults.list(
                "--exclude-interfaces",
                &self.exclude_interfaces,
                intercept::interface,
            ),
            outbound_port: outbound_port?,
            inbound_port: inbound_port?,
            mode: mode?,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        init: Init,
    }

    fn read(line: &str) -> (Option<Settings>, Vec<String>) {
        let mut faults = Faults::default();
        let words = ["init"].into_iter().chain(line.split(' ').filter(|word| !word.is_empty()));
        let settings = Line::parse_from(words).init.settings(&mut faults);
        (settings, faults.0)
    }

    #[test]
    fn without_arguments_the_rules_are_the_default_ones() {
        assert_eq!(read(""), (Some(Settings::default()), Vec::new()));
    }

    #[test]
    fn every_argument_has_its_effect() {
        let line = "--outbound-port 1 --inbound-port 2 --uid 3 --uid 4 --mode tproxy \
             --include-outbound-cidrs 10.0.0.1/8,fd00::1 --exclude-outbound-cidrs 10.1.1.1 \
             --include-outbound-ports 5,6-7 --exclude-outbound-ports 6 --exclude-outbound-ports 8 \
             --include-inbound-ports 9 --exclude-inbound-ports 10-11, --exclude-interfaces a,b";
        let nets = |texts: &[&str]| {
            texts.iter().map(|text| intercept::network(text).expect("legal")).collect()
        };
        let ports =
            |texts: &[&str]| texts.iter().map(|text| text.parse().expect("legal")).collect();
        let expected = Settings {
            outbound_port: 1,
            inbound_port: 2,
            uids: vec![3, 4],
            mode: Mode::Tproxy,
            include_outbound: nets(&["10.0.0.0/8", "fd00::1"]),
            exclude_outbound: nets(&["10.1.1.1"]),
            include_outbound_ports: ports(&["5", "6-7"]),
            exclude_outbound_ports: ports(&["6", "8"]),
            include_inbound_ports: ports(&["9"]),
            exclude_inbound_ports: ports(&["10-11"]),
            exclude_interfaces: vec!["a".into(), "b".into()],
        };
        assert_eq!(read(line), (Some(expected), Vec::new()));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let rows = [
            ("--outbound-port", "0"),
            ("--inbound-port", "x"),
            ("--mode", "nat"),
            ("--uid", "4294967295"),
            ("--include-outbound-cidrs", "10.0.0.0/33"),
            ("--exclude-outbound-cidrs", "web"),
            ("--include-outbound-ports", "9-8"),
            ("--exclude-outbound-ports", "65536"),
            ("--include-inbound-ports", "http"),
            ("--exclude-inbound-ports", "-"),
            ("--exclude-interfaces", "lo"),
        ];
        let line: Vec<String> = rows.iter().map(|(flag, text)| format!("{flag}={text}")).collect();
        let (_, faults) = read(&line.join(" "));
        for (flag, text) in rows {
            let begin = format!("error: {flag}: {text:?}: ");
            assert!(faults.iter().any(|fault| fault.starts_with(&begin)), "{begin} in {faults:?}");
        }
        assert_eq!(faults.len(), rows.len(), "{faults:?}");
        let (_, faults) = read("--inbound-port 15001");
        assert_eq!(faults, ["error: --inbound-port: the outbound port is the same"]);
        let (_, faults) = read("--uid ,");
        assert_eq!(faults.len(), 1, "{faults:?}");
    }
}
