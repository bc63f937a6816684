//! `outrigger tap`: requests of a service, a workload or a namespace as they end, until Ctrl-C.
//!
//! Requests go to standard output one by one; what is watched, and in the end how much of it was
//! shown, is said on standard error.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

use clap::Args;
use serde_json::{Map, Value, json};
use tonic::Streaming;

use super::super::super::tapping::{Form, Lines, Wanted, remark};
use super::super::super::{complain, duration, refuse};
use super::super::error::Error;
use super::super::place::Connection;
use super::super::session::{Session, Target, answer};
use super::super::{Answer, colour, conclude};
use crate::model::Direction;
use crate::telemetry::Timestamps;
use crate::telemetry::tap::Filter;
use crate::wire::v1::{self, tap_ended::Why, tap_request, tap_response::Message};

/// Requests as they end.
#[derive(Args, Debug)]
pub(in crate::cli) struct Tap {
    /// A service or workload: its name, name.namespace, service/NAME or workload/NAME; everybody
    /// unless said
    target: Option<String>,
    /// The namespace: the target's, or without one that of everybody who is watched
    #[arg(long, short = 'n')]
    namespace: Option<String>,
    #[command(flatten)]
    wanted: Wanted,
    /// End after so long, at most 1h
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = length)]
    length: Duration,
    #[command(flatten)]
    connection: Connection,
}

fn length(text: &str) -> Result<Duration, String> {
    let length = duration(text)?;
    let legal = length <= Duration::from_secs(3600);
    if legal { Ok(length) } else { Err("expected a duration of at most 1h".into()) }
}

impl Tap {
    pub(in crate::cli) fn run(&self) -> ExitCode {
        let namespace = self.namespace.as_deref().unwrap_or("default");
        match self.wanted.filter(namespace) {
            Ok(filter) => conclude(self.watch(&filter)),
            Err(faults) => refuse(&faults),
        }
    }

    /// Whose requests, as calls write it.
    fn asked(&self) -> Option<tap_request::Target> {
        use tap_request::Target::{Name, Namespace, Service, Workload};
        let namespace = self.namespace.as_deref();
        let Some(target) = &self.target else {
            return namespace.map(|namespace| Namespace(namespace.to_owned()));
        };
        let full = |name: &str| match name.contains('.') {
            true => name.to_owned(),
            false => format!("{name}.{}", namespace.unwrap_or("default")),
        };
        Some(match target.split_once('/') {
            Some(("service" | "services" | "svc", name)) => Service(full(name)),
            Some(("workload" | "workloads" | "pod", name)) => Workload(full(name)),
            Some(("namespace" | "ns", name)) => Namespace(name.to_owned()),
            _ => Name(full(target)),
        })
    }

    async fn watch(&self, filter: &Filter) -> Result<Answer, Error> {
        let session = Session::open(&Target::of(&self.connection)?).await?;
        let request = session.request(v1::TapRequest {
            target: self.asked(),
            filter: Some(filter.into()),
            rate: self.wanted.rate,
            count: self.wanted.count.unwrap_or_default(),
            duration_ms: u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX),
        });
        let told = answer(session.observe().tap(request)).await?;
        let mut shown = Shown {
            form: self.wanted.form,
            lines: Lines::new(colour(&io::stdout())),
            times: Timestamps::default(),
            count: 0,
            over_rate: 0,
            unread: 0,
            rate: self.wanted.rate,
        };
        let ended = tokio::select! {
            ended = shown.follow(told, filter) => ended,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Error::Runtime).map(|()| None),
        };
        match ended {
            Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => {
                Ok(Answer::default())
            }
            Err(error) => {
                complain(&shown.remark(None));
                Err(error)
            }
            Ok(ended) => Ok(Answer { data: String::new(), remark: shown.remark(ended) }),
        }
    }
}

/// What was shown so far, and how.
struct Shown {
    form: Form,
    lines: Lines,
    times: Timestamps,
    count: u64,
    over_rate: u64,
    unread: u64,
    rate: u32,
}

impl Shown {
    /// To the control plane's last word.
    async fn follow(
        &mut self,
        mut told: Streaming<v1::TapResponse>,
        filter: &Filter,
    ) -> Result<Option<v1::TapEnded>, Error> {
        while let Some(v1::TapResponse { message }) = told.message().await? {
            match message {
                Some(Message::Begun(begun)) => {
                    complain(&self.begun(begun, filter));
                    if self.form == Form::Text {
                        let heading = self.lines.heading();
                        print(&heading)?;
                    }
                }
                Some(Message::Requests(requests)) => self.requests(requests)?,
                Some(Message::Ended(ended)) => return Ok(Some(ended)),
                Some(Message::Replicas(others)) => {
                    let v1::TapReplicas { shown, missing, sidecars: _ } = others;
                    let shown = match shown.len() {
                        0 => "no other replica".to_owned(),
                        _ => names(&shown),
                    };
                    complain(&format!("watching through {shown} too{}", unseen(&missing)));
                }
                // A newer control plane's word.
                None => {}
            }
        }
        Err(Error::Lost("it ended".into()))
    }

    fn begun(&self, begun: v1::TapBegun, filter: &Filter) -> String {
        let v1::TapBegun { replica, sidecars, target, replicas, others } = begun;
        // A release that asks no others names them, and no more.
        let unasked = if others.is_some() { 0 } else { replicas.len().saturating_sub(1) };
        let v1::TapReplicas { shown, missing, sidecars: theirs } = others.unwrap_or_default();
        let who = match sidecars.saturating_add(theirs) {
            0 => "no sidecar that it concerns is connected yet".to_owned(),
            1 => "1 sidecar".to_owned(),
            many => format!("{many} sidecars"),
        };
        let which = match filter.to_string() {
            all if all.is_empty() => String::new(),
            which => format!(", only {which}"),
        };
        let by = match shown.len() {
            0 => replica,
            _ => format!("{replica}, {}", names(&shown)),
        };
        let unasked = match unasked {
            0 => String::new(),
            others => format!("; what sidecars of {others} other replicas see is not shown"),
        };
        let (rate, missing) = (self.rate, unseen(&missing));
        format!(
            "watching {target}{which}: {who}, by {by}; at most {rate} a second, Ctrl-C ends it\
             {unasked}{missing}"
        )
    }

    fn requests(&mut self, requests: v1::TapRequests) -> Result<(), Error> {
        let v1::TapRequests { records, over_rate, unread } = requests;
        self.over_rate = self.over_rate.saturating_add(over_rate);
        self.unread = self.unread.saturating_add(unread);
        self.count += records.len() as u64;
        let mut text = String::new();
        for v1::TapRecord { workload, request } in records {
            let object = object(workload, request.unwrap_or_default(), &mut self.times);
            match self.form {
                Form::Text => text += &self.lines.of(&object, ""),
                Form::Json => text += &format!("{object}\n"),
            }
        }
        print(&text)
    }

    /// How it went.
    fn remark(&self, ended: Option<v1::TapEnded>) -> String {
        let mut text = remark(self.count, self.over_rate, self.unread, self.rate);
        let Some(v1::TapEnded { why, sidecars, watching }) = ended else { return text };
        match Why::try_from(why) {
            Ok(Why::Time) => text += "; its time is over",
            Ok(Why::Leaving) => text += "; the control plane is about to end",
            Ok(Why::Count | Why::Unspecified) | Err(_) => {}
        }
        let deaf = sidecars.saturating_sub(watching);
        if deaf > 0 {
            text += &format!(
                "; {deaf} of {sidecars} sidecars could not watch: they are older, or are watched too \
                 much already"
            );
        }
        text
    }
}

fn names(replicas: &[v1::Replica]) -> String {
    replicas.iter().map(|of| of.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// Whose sidecars are not shown.
fn unseen(missing: &[v1::Replica]) -> String {
    let missing = missing.iter().map(|of| {
        format!("; what sidecars of replica {} see is not shown: {}", of.name, of.silence)
    });
    missing.collect()
}

fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::Output)
}

/// In the words of the access log, and in their order.
fn object(workload: String, request: v1::TappedRequest, times: &mut Timestamps) -> Value {
    let v1::TappedRequest {
        time_us,
        inbound,
        request_id,
        trace_id,
        method,
        authority,
        path,
        protocol,
        status,
        grpc,
        reason,
        service,
        route,
        endpoint,
        peer,
        attempts,
        duration_us,
        upstream_us,
        bytes_in,
        bytes_out,
        user_agent,
        tls,
        access,
    } = request;
    let time = UNIX_EPOCH + Duration::from_micros(u64::try_from(time_us).unwrap_or_default());
    let direction = if inbound { Direction::Inbound } else { Direction::Outbound };
    let text = |text: String| (!text.is_empty()).then_some(text);
    let millis = |micros: u64| match micros % 1000 {
        0 => json!(micros / 1000),
        _ => json!(micros as f64 / 1000.0),
    };
    let trace_id = <[u8; 16]>::try_from(trace_id).ok().map(u128::from_be_bytes);
    let fields = [
        ("time", json!(times.rfc3339(time))),
        ("workload", json!(workload)),
        ("direction", json!(direction.as_str())),
        ("request_id", json!(text(request_id))),
        ("trace_id", json!(trace_id.map(|id| format!("{id:032x}")))),
        ("method", json!(text(method))),
        ("authority", json!(text(authority))),
        ("path", json!(text(path))),
        ("protocol", json!(protocol)),
        ("status", json!((status > 0).then_some(status))),
        ("grpc_status", json!(grpc.checked_sub(1))),
        ("reason", json!(text(reason))),
        ("service", json!(text(service))),
        ("route", json!(text(route))),
        ("endpoint", json!(text(endpoint))),
        ("peer", json!(text(peer))),
        ("attempts", json!(attempts)),
        ("duration_ms", millis(duration_us)),
        ("upstream_ms", json!(upstream_us.map(millis))),
        ("bytes_in", json!(bytes_in)),
        ("bytes_out", json!(bytes_out)),
        ("user_agent", json!(text(user_agent))),
        ("tls", json!(tls)),
        ("access", json!(text(access))),
    ];
    let known = fields.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(known.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}
