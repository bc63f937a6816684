//! The arguments of `outrigger`: the demo, the control plane and everything that people tell it,
//! questions to sidecars, and checks of resources.
//! The hidden `sidecar` is `outrigger-proxy run` under another name, so that the demo needs no
//! second binary.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use super::ask::Query;
use super::sources::Sources;
use super::{
    ask, check, control, control_plane, duration, emit, explain, inject, install, read, version,
};
use crate::{app, demo};

/// Outrigger: a service mesh
#[derive(Parser, Debug)]
#[command(
    name = "outrigger",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Start with:\n  outrigger demo"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a small shop of meshed apps on this machine, under load, and show what happens
    #[command(after_help = "Examples:
  outrigger demo
  outrigger demo --for 10s --rate 500 --json
  outrigger demo --chaos --for 60s
  outrigger demo --keep

It needs nothing else installed, and leaves nothing behind. Exit code 1 if a request failed.")]
    Demo(Demo),
    /// Run the control plane: certificates, discovery and configuration
    #[command(after_help = "Examples:
  outrigger control-plane --data /var/lib/outrigger
  outrigger control-plane --listen [::]:15010 --operator spiffe://cluster.local/ns/ops/sa/admin

The folder holds keys: it belongs to one control plane and should be nobody else's to read.")]
    ControlPlane(control_plane::ControlPlane),
    /// Make the mesh as files say: all of it, or nothing
    #[command(after_help = "Examples:
  outrigger apply -f mesh/
  outrigger apply mesh/web.yaml --dry-run
  outrigger apply -f - --namespace shop")]
    Apply(control::Apply),
    /// Show what the control plane holds
    #[command(after_help = "Examples:
  outrigger get services
  outrigger get workload web-1 -n shop -o yaml
  outrigger get all --all-namespaces --watch

What -o yaml and -o json print can be changed and applied. It carries the version that was read, so
that nobody's change in between is lost.")]
    Get(control::Get),
    /// Remove resources: all of them, or none
    #[command(after_help = "Examples:
  outrigger delete service web -n shop
  outrigger delete -f mesh/ --ignore-missing --dry-run")]
    Delete(control::Delete),
    /// Give out the right to join the mesh, and take it back
    #[command(after_help = "Example:\n  outrigger token create -n shop -s web --label app=web")]
    Token(Token),
    /// The certificate authority: how it stands, its root and issuer replaced, trust taken away
    #[command(after_help = "Examples:
  outrigger ca status
  outrigger ca rotate root
  outrigger ca revoke spiffe://cluster.local/ns/shop/sa/web")]
    Ca(Ca),
    /// Control planes by name, so that commands need no flags
    #[command(after_help = "Example:\n  outrigger context use local")]
    Context(Contexts),
    /// How services fare: requests, failures and latencies of the last minute
    #[command(after_help = "Examples:
  outrigger stat
  outrigger stat web -n shop
  outrigger stat --window 10m -o json

Everything is told by sidecars, every five seconds; nothing else needs to be installed. The control
plane remembers half an hour of it.")]
    Stat(control::Stat),
    /// Who calls whom, with mutual TLS or not, and as whom
    #[command(after_help = "Examples:
  outrigger edges
  outrigger edges api.shop --window 30m")]
    Edges(control::Edges),
    /// The busiest routes, live
    #[command(after_help = "Examples:
  outrigger top
  outrigger top api -n shop
  outrigger top --once -o json")]
    Top(control::Top),
    /// Requests as they end, until Ctrl-C
    #[command(after_help = "Examples:
  outrigger tap web -n shop
  outrigger tap --namespace shop --failed
  outrigger tap api.shop --method GET,POST --path /orders* --slower 250ms
  outrigger tap workload/web-1 -n shop --status 5xx --count 10 -o json

Of a service it shows what its workloads take, and what anybody's sidecar sends there. Queries, headers
and bodies are not shown. Who watches whom is logged by the control plane.")]
    Tap(control::Tap),
    /// Requests that were kept: failed ones, slow ones and samples; one of them as a waterfall
    #[command(after_help = "Examples:
  outrigger traces
  outrigger traces --service api.shop --failed
  outrigger traces --slower-than 500ms --limit 10
  outrigger traces 4bf92f3577b34da6a3ce929d0e0e4736")]
    Traces(control::Traces),
    /// Put a sidecar into every pod of Kubernetes manifests, and print them
    #[command(after_help = "Examples:
  outrigger inject web.yaml
  outrigger inject - -o json
  outrigger inject app/ --proxy-image registry.example/outrigger-proxy:0.1.0

What has no pod passes unchanged. Pods that are left alone are named on standard error, with the
reason. With the webhook in the cluster this is not needed: both do the same.")]
    Inject(inject::Inject),
    /// Check resource files: every fault at once
    #[command(after_help = "Examples:
  outrigger validate mesh/
  outrigger validate mesh/web.yaml -o yaml")]
    Validate(read::Validate),
    /// Ask a running sidecar's admin port
    #[command(after_help = "Example:\n  outrigger proxy endpoints --admin 127.0.0.1:15000")]
    Proxy(Proxy),
    /// What a sidecar would do with a request, and why; or what a reason means and what to do
    #[command(after_help = "Examples:
  outrigger explain circuit-open
  outrigger explain --list
  outrigger explain api.shop:80 --path /orders
  outrigger explain api:80 --method POST --header x-user:ann --admin 127.0.0.1:15000 -o yaml
  outrigger explain --port 8080 --peer spiffe://cluster.local/ns/shop/sa/web --path /orders

A reason is the word in x-outrigger-reason, in the access log and in metrics; it is explained without
asking anybody. About a request the sidecar is asked, and nothing is sent.")]
    Explain(explain::Explain),
    /// Open the control plane's dashboard in a browser
    #[command(after_help = "Examples:
  outrigger dashboard
  outrigger dashboard --no-open --admin control.example:15014

A browser can show no token, so this stands between: it listens on this machine alone, lets in the
one who opens the link, and asks the control plane over TLS with your credentials. It only reads. The
link works once; each use prints the next. Ctrl-C ends it.")]
    Dashboard(control::Dashboard),
    /// Whether a Kubernetes cluster is ready for the mesh, and the mesh in it well
    #[command(after_help = "Examples:
  outrigger check --pre
  outrigger check
  outrigger check --kubeconfig admin.conf --kube-context prod -o json
  outrigger check --strict-ready

Exit code 1 if something fails (✗). What should be known (!) is no failure. --strict-ready asks the
control plane, and lists who was let in without mutual TLS within the last hour: 1 if anybody was.
The replica that is asked asks the others what their sidecars tell; one that does not answer it is
named, and then it is 1 too.")]
    Check(check::Check),
    /// Print what makes a Kubernetes cluster ready for the mesh
    #[command(after_help = "Examples:
  outrigger install --crds | kubectl apply -f -
  outrigger install --registry registry.example/mesh | kubectl apply -f -
  outrigger install --mtls strict -o json

Nothing is changed in the cluster: it prints, and kubectl applies. The kinds of resources come first,
in a step of their own, because an API server takes nothing of a kind that it doesn't serve yet.")]
    Install(install::Install),
    /// Print what to delete from a Kubernetes cluster, in a safe order
    #[command(after_help = "Examples:
  outrigger uninstall | kubectl delete --ignore-not-found -f -
  outrigger uninstall --crds -o json")]
    Uninstall(install::Uninstall),
    /// Print the version
    #[command(after_help = "Example:\n  outrigger version")]
    Version,
    /// Print a script that makes a shell complete these commands
    #[command(after_help = "Example:\n  source <(outrigger completions bash)")]
    Completions {
        /// The shell
        shell: Shell,
    },
    #[command(hide = true, after_help = "Example:\n  outrigger sidecar --config sidecar.yaml")]
    Sidecar(Sources),
}

#[derive(Args, Debug)]
struct Demo {
    /// End by itself after a while, such as 10s or 1m
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    length: Option<Duration>,
    /// Requests per second
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Meanwhile restart and kill instances, kill and freeze the control plane, replace certificates
    #[arg(long)]
    chaos: bool,
    /// Have the chaos go as it went before: its first event names the number
    #[arg(long, value_name = "NUMBER", requires = "chaos")]
    seed: Option<u64>,
    /// Say what to try by hand, and stay until Ctrl-C even when the load has ended
    #[arg(long)]
    keep: bool,
}

#[derive(Args, Debug)]
struct Proxy {
    #[command(subcommand)]
    query: Query,
}

#[derive(Args, Debug)]
struct Ca {
    #[command(subcommand)]
    action: control::Ca,
}

#[derive(Args, Debug)]
struct Token {
    #[command(subcommand)]
    action: control::Token,
}

#[derive(Args, Debug)]
struct Contexts {
    #[command(subcommand)]
    action: control::Contexts,
}

/// The whole program.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Demo(Demo { length, rate, json, keep, chaos, seed }) => {
            demo::run(&demo::Options { length, rate, json, keep, chaos, seed })
        }
        Command::ControlPlane(control_plane) => control_plane.run(),
        Command::Apply(apply) => apply.run(),
        Command::Get(get) => get.run(),
        Command::Delete(delete) => delete.run(),
        Command::Token(Token { action }) => action.run(),
        Command::Ca(Ca { action }) => action.run(),
        Command::Context(Contexts { action }) => action.run(),
        Command::Stat(stat) => stat.run(),
        Command::Edges(edges) => edges.run(),
        Command::Top(top) => top.run(),
        Command::Traces(traces) => traces.run(),
        Command::Tap(tap) => tap.run(),
        Command::Inject(inject) => inject.run(),
        Command::Validate(validate) => validate.run(),
        Command::Check(check) => check.run(),
        Command::Proxy(Proxy { query }) => ask::run(&query),
        Command::Explain(explain) => explain.run(),
        Command::Dashboard(dashboard) => dashboard.run(),
        Command::Install(install) => install.run(),
        Command::Uninstall(uninstall) => uninstall.run(),
        Command::Version => version("outrigger"),
        Command::Completions { shell } => completions(shell),
        Command::Sidecar(sources) => app::run(&sources.options()),
    }
}

fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "outrigger", &mut script);
    emit(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Reason;

    fn walk(command: &clap::Command, visit: &mut dyn FnMut(&clap::Command)) {
        visit(command);
        command.get_subcommands().for_each(|command| walk(command, visit));
    }

    #[test]
    fn each_help_has_examples_that_are_understood() {
        let command = Arguments::command();
        command.clone().debug_assert();
        walk(&command, &mut |command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.lines().filter_map(|line| line.strip_prefix("  outrigger "));
            let (name, mut count) = (command.get_name(), 0);
            for example in examples {
                let line = example.split(" | ").next().unwrap_or(example).split_whitespace();
                let read = Arguments::try_parse_from(std::iter::once("outrigger").chain(line));
                assert!(read.is_ok(), "{name}: {example}: {read:?}");
                count += 1;
            }
            assert!(count > 0 || name == "completions", "{name} has no example");
        });
    }

    #[test]
    fn advice_names_commands_that_there_are() {
        let mut count = 0;
        for &reason in Reason::ALL {
            let advice = reason.advice();
            let texts = [advice.happened, advice.look, advice.change];
            let quoted = texts.iter().flat_map(|text| text.split('`').skip(1).step_by(2));
            for command in quoted.filter(|quoted| quoted.starts_with("outrigger ")) {
                let read = Arguments::try_parse_from(command.split(' '));
                assert!(read.is_ok(), "{reason}: {command}: {read:?}");
                count += 1;
            }
        }
        assert!(count > 10, "only {count} were found");
    }

    #[test]
    fn durations_are_written_as_in_the_configuration() {
        let rows = [
            ("10s", Some(10_000)),
            ("1m", Some(60_000)),
            ("250ms", Some(250)),
            ("10", None),
            ("0s", None),
            ("-1s", None),
        ];
        for (text, millis) in rows {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn wrong_usage_leaves_with_two() {
        for line in [
            &["outrigger", "demo", "--rate", "0"][..],
            &["outrigger", "demo", "--for", "soon"],
            &["outrigger", "demo", "--seed", "7"],
            &["outrigger", "validate"],
            &["outrigger", "check", "--strict-ready", "--pre"],
            &["outrigger", "check", "-n", "shop"],
            &["outrigger", "explain"],
            &["outrigger", "explain", "--list", "draining"],
            &["outrigger", "stat", "--window", "5s"],
            &["outrigger", "top", "--window", "31m"],
            &["outrigger", "traces", "--limit", "0"],
            &["outrigger", "tap", "--rate", "1001"],
            &["outrigger", "tap", "--for", "2h"],
            &["outrigger", "proxy", "services", "-o", "xml"],
            &["outrigger", "proxy", "services", "--admin", "localhost"],
        ] {
            let error = Arguments::try_parse_from(line).expect_err("illegal");
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }
}
