//! `outrigger get --watch`: shows what there is, then each change, across restarts of the control
//! plane. `picture` knows what is news; this keeps a connection and prints.

use std::io::{self, ErrorKind, Write};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::super::output::{Format, render};
use super::super::{chain, complain};
use super::calls::Told;
use super::convert::{Held, Key};
use super::error::Error;
use super::get::Scope;
use super::picture::{News, Picture};
use super::session::{Session, Target};
use super::shown;
use crate::model::{Backoff, BackoffStrategy};
use crate::retry;
use crate::runtime::clock::Rng;

/// Between two attempts to connect: long enough apart for a control plane that starts, and spread
/// so that many watchers don't come back at once.
const BACKOFF: Backoff = Backoff {
    strategy: BackoffStrategy::Exponential,
    base: Duration::from_millis(250),
    max: Duration::from_secs(10),
    full_jitter: true,
};

/// Where lines go: one call a piece of text.
pub(super) trait Show {
    /// Data.
    fn data(&mut self, text: &str) -> io::Result<()>;
    /// For people.
    fn remark(&mut self, line: &str);
}

struct Terminal;

impl Show for Terminal {
    fn data(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    }

    fn remark(&mut self, line: &str) {
        complain(&line);
    }
}

/// Watches until Ctrl-C, or until nobody reads any more.
///
/// # Errors
/// When the first connection fails, or for what trying again won't mend.
pub(super) async fn until_interrupted(
    target: &Target,
    scope: &Scope,
    format: Format,
) -> Result<(), Error> {
    let mut terminal = Terminal;
    tokio::select! {
        ended = watch(target, scope, format, &mut terminal) => match ended {
            Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(error),
            Ok(never) => match never {},
        },
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Error::Runtime),
    }
}

/// What only an error ends.
pub(super) enum Never {}

/// Watches, connecting again whenever the connection is lost.
///
/// # Errors
/// As [`until_interrupted`].
pub(super) async fn watch(
    target: &Target,
    scope: &Scope,
    format: Format,
    show: &mut impl Show,
) -> Result<Never, Error> {
    let mut printer = Printer { format, mixed: scope.is_mixed(), first: Vec::new(), shown: false };
    let (mut picture, mut rng) = (Picture::default(), Rng::from_system());
    let mut told = open(target, scope).await?;
    // Until a connection has said all that there is: one that breaks at once must not be hammered.
    let mut retries = 0;
    loop {
        picture.begin();
        let lost = follow(&mut told, scope, &mut picture, &mut printer, show).await;
        let Err(lost) = lost;
        if !lost.is_passing() {
            return Err(lost);
        }
        show.remark(&format!("{}; trying again", chain(&lost)));
        if !picture.is_syncing() {
            retries = 0;
        }
        told = reopen(target, scope, &mut retries, &mut rng).await?;
        show.remark("connected again; what changed meanwhile follows");
    }
}

async fn open(target: &Target, scope: &Scope) -> Result<Told, Error> {
    Session::open(target).await?.watch(scope.kind(), scope.namespace()).await
}

async fn reopen(
    target: &Target,
    scope: &Scope,
    retries: &mut u32,
    rng: &mut Rng,
) -> Result<Told, Error> {
    loop {
        *retries = retries.saturating_add(1);
        tokio::time::sleep(retry::pause(*retries, BACKOFF, rng)).await;
        match open(target, scope).await {
            Err(error) if error.is_passing() => {}
            opened => return opened,
        }
    }
}

async fn follow(
    told: &mut Told,
    scope: &Scope,
    picture: &mut Picture,
    printer: &mut Printer,
    show: &mut impl Show,
) -> Result<Never, Error> {
    loop {
        let event = told.next().await?;
        for news in picture.take(event) {
            let text = printer.print(news, scope, SystemTime::now());
            if !text.is_empty() {
                show.data(&text).map_err(Error::Output)?;
            }
        }
    }
}

/// Turns news into text.
struct Printer {
    format: Format,
    mixed: bool,
    /// The first picture: shown as one table, whose columns later lines keep to.
    first: Vec<Value>,
    shown: bool,
}

impl Printer {
    fn print(&mut self, news: News, scope: &Scope, now: SystemTime) -> String {
        let (word, key, held) = match &news {
            News::Present(held) => ("present", &held.key, Some(held)),
            News::New(held) => ("new", &held.key, Some(held)),
            News::Changed(held) => ("changed", &held.key, Some(held)),
            News::Gone(key) => ("gone", key, None),
            News::Complete => return self.complete(),
        };
        match self.format {
            _ if !scope.has(key) => String::new(),
            Format::Table => self.line(word, key, held, now),
            Format::Json => format!("{}\n", whole(word, key, held)),
            Format::Yaml => {
                format!("---\n{}", render(&whole(word, key, held), None, Format::Yaml))
            }
        }
    }

    /// A line of the table; what comes before the first picture is whole waits for it.
    fn line(&mut self, word: &str, key: &Key, held: Option<&Held>, now: SystemTime) -> String {
        let row = held.map(|held| shown::row(held, self.mixed, now));
        let mut row = row.unwrap_or_else(|| shown::named(key, self.mixed));
        row["change"] = word.into();
        let same = |other: &Value| {
            ["namespace", "kind", "name"].iter().all(|field| other.get(field) == row.get(field))
        };
        let place = self.first.iter().position(same);
        if !self.shown {
            match (place, held) {
                (Some(place), None) => drop(self.first.remove(place)),
                (Some(place), Some(_)) => self.first[place] = row,
                (None, _) => self.first.push(row),
            }
            return String::new();
        }
        let table = self.table(Some(row));
        table.lines().last().map(|line| format!("{line}\n")).unwrap_or_default()
    }

    fn complete(&mut self) -> String {
        self.shown = true;
        if let Format::Table = self.format { self.table(None) } else { String::new() }
    }

    fn table(&self, last: Option<Value>) -> String {
        let rows: Vec<&Value> = self.first.iter().chain(last.as_ref()).collect();
        render(&json!({ "resources": rows }), Some("resources"), Format::Table)
    }
}

fn whole(word: &str, key: &Key, held: Option<&Held>) -> Value {
    let mut whole = json!({
        "change": word,
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
    });
    if let Some(held) = held {
        whole["manifest"] = held.manifest.clone();
    }
    whole
}
