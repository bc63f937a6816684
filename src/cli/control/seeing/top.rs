//! `outrigger top`: the busiest routes, drawn again and again on a terminal until Ctrl-C. Into a pipe,
//! or as JSON or YAML, it is one answer.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use super::super::super::chain;
use super::super::super::output::{Format, Output, render};
use super::super::error::Error;
use super::super::place::Connection;
use super::super::session::{Session, Target};
use super::super::{Answer, colour, conclude};
use super::{About, remark, route_row, shown, window};

/// Between two pictures. Sidecars tell every 5 s, each at its own time.
const AGAIN: Duration = Duration::from_secs(2);
/// Of a terminal that does not say how large it is.
const LINES: usize = 24;

/// The busiest routes.
#[derive(Args, Debug)]
pub(in crate::cli) struct Top {
    #[command(flatten)]
    about: About,
    /// The time that the numbers are about, from 10s to 30m
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = window)]
    window: Duration,
    /// Print it once, and leave
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Top {
    pub(in crate::cli) fn run(&self) -> ExitCode {
        let is_live =
            !self.once && self.output.format == Format::Table && io::stdout().is_terminal();
        if is_live { conclude(self.live()) } else { conclude(self.ask()) }
    }

    async fn ask(&self) -> Result<Answer, Error> {
        let session = Session::open(&Target::of(&self.connection)?).await?;
        let told = session.top(self.about.asked(), self.window).await?;
        Ok(shown(&told, "routes", route_row, self.output.format))
    }

    async fn live(&self) -> Result<Answer, Error> {
        let target = Target::of(&self.connection)?;
        let mut session = Some(Session::open(&target).await?);
        let mut ticks = interval(AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c() => {
                    interrupted.map_err(Error::Runtime)?;
                    return Ok(Answer::default());
                }
                _ = ticks.tick() => {}
            }
            let asked = async {
                if session.is_none() {
                    session = Some(Session::open(&target).await?);
                }
                match &session {
                    Some(session) => session.top(self.about.asked(), self.window).await,
                    None => Ok(Value::Null),
                }
            };
            let picture = match asked.await {
                Ok(told) => picture(&told, lines(), colour(&io::stdout())),
                Err(error) if error.is_passing() => {
                    session = None;
                    format!("{}; trying again\n", chain(&error))
                }
                Err(error) => return Err(error),
            };
            let mut out = io::stdout().lock();
            // Home, the picture, and nothing below it: a terminal that is cleared first flickers.
            let drawn = write!(out, "\x1b[H{}\x1b[J", picture.replace('\n', "\x1b[K\n"));
            drawn.and_then(|()| out.flush()).map_err(Error::Output)?;
        }
    }
}

/// No more than fits; lines on which something fails stand out.
fn picture(told: &Value, lines: usize, colour: bool) -> String {
    let routes = told["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let remark = remark(told);
    // The remark, a blank line, the heading, and the line where the cursor is.
    let around = remark.lines().count() + 3;
    let shown = routes.len().min(lines.saturating_sub(around).max(1));
    let rows: Vec<Value> = routes[..shown].iter().filter_map(route_row).collect();
    let table = render(&json!({ "routes": rows }), Some("routes"), Format::Table);
    let mut text = format!("{remark}\n\n");
    for (at, line) in table.lines().enumerate() {
        let of = at.checked_sub(1).and_then(|at| routes.get(at));
        let fails = of.is_some_and(|of| of["failures"].as_u64() > Some(0));
        match colour && fails {
            true => text += &format!("\x1b[31m{line}\x1b[0m\n"),
            false => text += &format!("{line}\n"),
        }
    }
    text
}

fn lines() -> usize {
    // SAFETY: all bytes zero are a window size.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes one window size, which outlives it.
    let told = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if told == 0 && size.ws_row > 0 { usize::from(size.ws_row) } else { LINES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_and_shows_what_fails() {
        let route = |n: u64, failures: u64| {
            json!({"to": format!("s{n}.shop"), "route": "default", "from": "web.shop",
                   "requests": 10, "failures": failures, "rate": 1.0, "failureRate": 0.0})
        };
        let told = json!({"replica": "one", "windowS": 20, "sidecars": 1, "leftOut": 0,
                          "routes": [route(1, 0), route(2, 3), route(3, 0)]});
        let text = picture(&told, 6, true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[2].starts_with("TO ") && lines[3].starts_with("s1.shop"), "{text}");
        assert!(lines[4].starts_with("\x1b[31ms2.shop"), "{text}");
        let empty = json!({"routes": []});
        assert!(picture(&empty, 24, false).ends_with("no routes\n"));
    }
}
