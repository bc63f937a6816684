//! `outrigger token`: the right to join the mesh, given out, listed and taken back.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::super::duration;
use super::super::output::{Format, Output, render};
use super::calls::NewToken;
use super::convert::JoinToken;
use super::error::Error;
use super::place::Connection;
use super::session::{Session, Target};
use super::{Answer, conclude, shown};
use crate::control::grant;
use crate::telemetry::Timestamps;

/// What is done about tokens.
#[derive(Subcommand, Debug)]
pub(in crate::cli) enum Token {
    /// Make a token that a workload joins with, and print it; it is shown this once
    #[command(after_help = "Examples:
  outrigger token create --namespace shop --service-account web --label app=web
  outrigger token create -n shop -s web --address 10.0.0.0/24 --ttl 15m --uses 3")]
    Create(Create),
    /// The tokens that can still be used
    #[command(after_help = "Example:\n  outrigger token list -o json")]
    List(List),
    /// Make a token useless at once
    #[command(
        after_help = "Example:\n  outrigger token revoke 01a20104-af70-7fc5-a9db-dc36a1d9841f"
    )]
    Revoke(Revoke),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Create {
    /// The workload's namespace
    #[arg(long, short = 'n')]
    namespace: String,
    /// The service account that the workload is
    #[arg(long, short = 's', value_name = "NAME")]
    service_account: String,
    /// A label that it may register with; may be repeated
    #[arg(long, short = 'l', value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// The address, or range of addresses, that it may register (default: where it connects from)
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    address: Option<String>,
    /// How long the token may be used for
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1h")]
    ttl: Duration,
    /// How many workloads may join with it
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    uses: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct Revoke {
    /// As `token list` shows it
    id: String,
    #[command(flatten)]
    connection: Connection,
}

impl Token {
    /// Asks, and says what came of it.
    pub(in crate::cli) fn run(&self) -> ExitCode {
        conclude(async { self.ask(&Target::of(self.connection())?, SystemTime::now()).await })
    }

    fn connection(&self) -> &Connection {
        match self {
            Token::Create(create) => &create.connection,
            Token::List(list) => &list.connection,
            Token::Revoke(revoke) => &revoke.connection,
        }
    }

    pub(super) async fn ask(&self, target: &Target, now: SystemTime) -> Result<Answer, Error> {
        let session = Session::open(target).await?;
        match self {
            Token::Create(create) => create.ask(&session, now).await,
            Token::List(List { output, .. }) => {
                Ok(list(&session.list_tokens().await?, now, output.format).into())
            }
            Token::Revoke(Revoke { id, .. }) => {
                session.revoke_token(id).await?;
                Ok(format!("token {id} revoked\n").into())
            }
        }
    }
}

impl Create {
    /// The text alone goes to standard output, so that it can be sent to a file.
    async fn ask(&self, session: &Session, now: SystemTime) -> Result<Answer, Error> {
        let (token, id) = session.create_token(self.new_token()).await?;
        let expires = now.checked_add(self.ttl).unwrap_or(now);
        if self.output.format != Format::Table {
            let facts = json!({"token": token, "id": id, "expires": timestamp(expires)});
            return Ok(render(&facts, None, self.output.format).into());
        }
        let Create { namespace, service_account, uses, .. } = self;
        let times = if *uses == 1 { "once".into() } else { format!("{uses} times") };
        let remark = format!(
            "token {id}: {service_account} of namespace {namespace} may join with it {times}, \
             until {}",
            timestamp(expires)
        );
        Ok(Answer { data: format!("{token}\n"), remark })
    }

    fn new_token(&self) -> NewToken {
        NewToken {
            namespace: self.namespace.clone(),
            service_account: self.service_account.clone(),
            labels: self.label.iter().cloned().collect(),
            address: self.address.clone(),
            ttl: self.ttl,
            uses: self.uses,
        }
    }
}

fn list(tokens: &[JoinToken], now: SystemTime, format: Format) -> String {
    let row =
        |token: &JoinToken| if format == Format::Table { row(token, now) } else { whole(token) };
    let rows: Vec<Value> = tokens.iter().map(row).collect();
    render(&json!({ "tokens": rows }), Some("tokens"), format)
}

fn row(token: &JoinToken, now: SystemTime) -> Value {
    let pairs = |labels: &BTreeMap<String, String>| {
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    json!({
        "id": token.id,
        "namespace": token.namespace,
        "serviceAccount": token.service_account,
        "labels": pairs(&token.labels),
        "address": token.address,
        "endsIn": shown::span(token.expires.duration_since(now).unwrap_or_default()),
        "usesLeft": token.uses_left,
    })
}

fn whole(token: &JoinToken) -> Value {
    json!({
        "id": token.id,
        "namespace": token.namespace,
        "serviceAccount": token.service_account,
        "labels": token.labels,
        "address": token.address,
        "expires": timestamp(token.expires),
        "usesLeft": token.uses_left,
    })
}

fn timestamp(time: SystemTime) -> String {
    Timestamps::default().rfc3339(time).to_owned()
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or("write key=value, such as app=web")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn address(text: &str) -> Result<String, String> {
    let range = grant::range(text).map(|range| range.to_string());
    range.ok_or_else(|| "write an address or a range, such as 10.0.0.7 or 10.0.0.0/24".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_as_a_table_and_as_data() {
        let token = JoinToken {
            id: "7".into(),
            namespace: "shop".into(),
            service_account: "web".into(),
            labels: [("app".to_owned(), "web".to_owned()), ("tier".into(), "front".into())].into(),
            address: String::new(),
            expires: SystemTime::UNIX_EPOCH + Duration::from_secs(3600),
            uses_left: 2,
        };
        let tokens = [token];
        assert_eq!(
            list(&tokens, SystemTime::UNIX_EPOCH, Format::Table),
            "ID  NAMESPACE  SERVICE-ACCOUNT  LABELS              ADDRESS  ENDS-IN  USES-LEFT\n\
             7   shop       web              app=web,tier=front  -        60m              2\n"
        );
        let text = list(&tokens, SystemTime::UNIX_EPOCH, Format::Yaml);
        assert!(text.contains("expires: \"1970-01-01T01:00:00.000Z\""), "{text}");
    }

    #[test]
    fn addresses_are_ranges() {
        let rows = [
            ("10.0.0.7", Some("10.0.0.7/32")),
            ("10.0.0.0/24", Some("10.0.0.0/24")),
            ("fd00::1", Some("fd00::1/128")),
            ("web", None),
            ("10.0.0.0/33", None),
        ];
        for (text, range) in rows {
            assert_eq!(address(text).ok().as_deref(), range, "{text}");
        }
        assert!(label("app").is_err() && label("=x").is_err());
        assert_eq!(label("a=b=c"), Ok(("a".into(), "b=c".into())));
    }
}
