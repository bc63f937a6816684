//! The arguments of `outrigger-proxy`. Without a subcommand it runs the sidecar, so that a
//! container's command line stays short.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::init::{self, Init};
use super::sources::Sources;
use super::wait::Wait;
use super::{effective, version};
use crate::app;

const EXAMPLES: &str = "Examples:
  outrigger-proxy --config sidecar.yaml
  outrigger-proxy validate --config sidecar.yaml --set log.level=debug

Environment variables set fields too: OUTRIGGER_ADMIN__LISTEN=127.0.0.1:15000.
A flag goes over the environment, which goes over the file.";

/// The sidecar of the Outrigger service mesh
#[derive(Parser, Debug)]
#[command(
    name = "outrigger-proxy",
    version,
    args_conflicts_with_subcommands = true,
    after_help = EXAMPLES
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    sources: Sources,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the sidecar until it is told to stop (what happens without a subcommand)
    #[command(after_help = "Example:\n  outrigger-proxy run --config sidecar.yaml")]
    Run(Sources),
    /// Bring this network namespace's connections to the sidecar
    #[command(after_help = init::EXAMPLES)]
    Init(Init),
    /// Check the configuration and the files it names, and print what is in effect and why
    #[command(after_help = "Example:
  outrigger-proxy validate --config sidecar.yaml

Every fault is listed at once, on standard error; with any, the exit code is 2.")]
    Validate(Sources),
    /// Wait until the sidecar is ready, then run a command, if one is given
    #[command(after_help = "Examples:
  outrigger-proxy wait --for 60s
  outrigger-proxy wait -- /app/server --port 8080

When the time is over it says what is still missing, on standard error; the exit code is 1.")]
    Wait(Wait),
    /// Print the version
    #[command(after_help = "Example:\n  outrigger-proxy version")]
    Version,
}

/// The whole program.
pub fn main() -> ExitCode {
    run(Arguments::parse())
}

fn run(arguments: Arguments) -> ExitCode {
    match arguments.command.unwrap_or(Command::Run(arguments.sources)) {
        Command::Run(sources) => app::run(&sources.options()),
        Command::Init(arguments) => init::init(&arguments),
        Command::Validate(sources) => effective::validate(sources),
        Command::Wait(wait) => wait.run(),
        Command::Version => version("outrigger-proxy"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn each_help_has_examples_that_are_understood() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for command in std::iter::once(&command).chain(command.get_subcommands()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines = help.lines().filter(|line| line.starts_with("  outrigger-proxy"));
            for line in lines.clone() {
                let read = Arguments::try_parse_from(line.split_whitespace());
                assert!(read.is_ok(), "{line}: {read:?}");
            }
            assert!(lines.count() > 0, "{} has no example", command.get_name());
        }
    }

    #[test]
    fn running_needs_no_subcommand() {
        for line in [
            &["outrigger-proxy", "--config", "x", "--workers", "2"][..],
            &["outrigger-proxy", "run", "--config", "x", "--workers", "2"],
        ] {
            let arguments = Arguments::try_parse_from(line).expect("legal");
            let command = arguments.command.unwrap_or(Command::Run(arguments.sources));
            let Command::Run(sources) = command else { panic!("{line:?} is {command:?}") };
            let options = sources.options();
            assert_eq!(options.config.as_deref(), Some("x".as_ref()));
            assert_eq!(options.flags.len(), 1);
        }
    }

    #[test]
    fn a_flag_is_a_field_and_set_goes_over_it() {
        let line = [
            "outrigger-proxy",
            "validate",
            "--log-level=warn",
            "--admin-listen=[::1]:15000",
            "--set",
            "log.level=a=b",
        ];
        let Some(Command::Validate(sources)) = Arguments::parse_from(line).command else {
            panic!("not validate")
        };
        let flags: Vec<_> =
            sources.options().flags.into_iter().map(|f| (f.name, f.path, f.text)).collect();
        let row = |name: &str, path: &str, text: &str| (name.into(), path.into(), text.into());
        assert_eq!(
            flags,
            [
                row("--admin-listen", "admin.listen", "[::1]:15000"),
                row("--log-level", "log.level", "warn"),
                row("--set log.level", "log.level", "a=b"),
            ]
        );
    }

    #[test]
    fn wrong_usage_leaves_with_two() {
        for line in [
            &["outrigger-proxy", "--no-such-flag"][..],
            &["outrigger-proxy", "--set", "nothing"],
            &["outrigger-proxy", "--set", "=x"],
            &["outrigger-proxy", "fly"],
            &["outrigger-proxy", "version", "--config", "x"],
        ] {
            let error = Arguments::try_parse_from(line).expect_err("illegal");
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }
}
