//! In place of an API server: says what one said in the same scenario.
//!
//! A request is answered as the recorded one of the same key and body was; one that was not recorded
//! is refused, and so is one that comes too often. What a server says follows from what was written
//! to it, so nothing is said before all writes have come that came before it when it was recorded:
//! clocks and pauses play no part. The scenario fails with every objection, and with every request
//! that our code made then and does not make now.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::call::{self, BUNDLE, URL};
use super::compare::{OfTheDay, compare};
use super::door::{self, Body, Parts, asked, begin, whole};
use super::script::{Found, Script, State};
use super::transcript::{Asked, Line};

/// A transcript, and how far it has come.
#[derive(Clone)]
pub struct Replay {
    script: Arc<Script>,
    /// How long an answer waits for what caused it.
    patience: Duration,
    state: Arc<Mutex<State>>,
    /// The first line that has not come, of those that anything may follow from.
    reached: Arc<watch::Sender<usize>>,
    objected: Arc<watch::Sender<bool>>,
}

impl Replay {
    /// Serves a transcript on loopback.
    pub async fn start(
        lines: Vec<Line>,
        of_the_day: OfTheDay,
        patience: Duration,
    ) -> (Self, SocketAddr) {
        let (script, state) = Script::new(lines, of_the_day);
        let reached = Arc::new(watch::Sender::new(state.reached()));
        let (script, state) = (Arc::new(script), Arc::new(Mutex::new(state)));
        let replay = Self { script, patience, state, reached, objected: Arc::default() };
        let served = replay.clone();
        let address = door::serve(move |request| served.clone().answer(request)).await;
        (replay, address)
    }

    /// What was asked for and is not on record, as soon as there is anything.
    pub async fn objections(&self) -> Vec<String> {
        let mut objected = self.objected.subscribe();
        // The sender is ours.
        let _ = objected.wait_for(|objected| *objected).await;
        self.objections_so_far()
    }

    pub fn objections_so_far(&self) -> Vec<String> {
        self.state().objections.clone()
    }

    /// What our code asked for then, and has not asked for now.
    pub fn missing(&self) -> Vec<String> {
        self.script.missing(&self.state())
    }

    /// The scenario has come to a point of the transcript.
    pub fn mark(&self, name: &str) {
        let mut state = self.state();
        self.script.mark(&mut state, name);
        self.reached.send_replace(state.reached());
        self.objected.send_replace(!state.objections.is_empty());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, asked: &Asked) -> Found {
        let mut state = self.state();
        let found = self.script.find(&mut state, asked);
        self.reached.send_replace(state.reached());
        found
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        let (asked, _) = asked(request).await;
        match self.find(&asked) {
            Found::Recorded(id) => self.tell(&asked, id).await,
            Found::Again(id) => self.again(id),
            Found::Refused(why) => self.refuse(&asked, &why),
        }
    }

    fn refuse(&self, asked: &Asked, why: &str) -> Response<Body> {
        let objection = format!("{asked}\n  {why}");
        let mut state = self.state();
        if !state.objections.contains(&objection) {
            state.objections.push(objection);
        }
        drop(state);
        self.objected.send_replace(true);
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": why, "reason": "NotRecorded", "code": 501,
        });
        whole(501, JSON, status.to_string())
    }

    /// What it was told last, at once.
    fn again(&self, id: usize) -> Response<Body> {
        let mut said = self.script.lines.iter().filter_map(|line| match line {
            Line::Part { to, body } if *to == id => Some(body),
            _ => None,
        });
        let (kind, text) = self.written(said.next_back().unwrap_or(&Value::Null));
        whole(self.script.status(id).unwrap_or(500), kind, text)
    }

    async fn tell(self, asked: &Asked, id: usize) -> Response<Body> {
        let of_it =
            self.script.lines.iter().enumerate().filter(|(_, line)| line.request() == Some(id));
        let mut of_it =
            of_it.map(|(number, line)| (number, line.clone())).skip(1).collect::<Vec<_>>();
        let mut kind = JSON;
        if let Some((_, Line::Part { body: Value::String(_), .. })) = of_it.get(1) {
            kind = TEXT;
        }
        while let Some((number, line)) = (!of_it.is_empty()).then(|| of_it.remove(0)) {
            if timeout(self.patience, self.caused(number)).await.is_err() {
                let awaited = self.script.awaited(&self.state());
                return self.refuse(
                    asked,
                    &format!("its answer followed from this, which does not come:\n  {awaited}"),
                );
            }
            match line {
                Line::Call { review, answer, .. } => {
                    if let Err(why) = self.call(&review, &answer).await {
                        return self.refuse(asked, &why);
                    }
                }
                Line::Head { status, .. } => {
                    let (feed, answer) = door::body();
                    let is_watch = asked.is_watch();
                    tokio::spawn(self.clone().speak(of_it, is_watch, feed));
                    return begin(status, kind, answer);
                }
                _ => {}
            }
        }
        self.refuse(asked, "the transcript holds no answer to it")
    }

    async fn speak(self, said: Vec<(usize, Line)>, is_watch: bool, feed: Parts) {
        for (number, line) in said {
            self.caused(number).await;
            match line {
                Line::Part { body, .. } => {
                    let (_, mut text) = self.written(&body);
                    if is_watch {
                        text.push('\n');
                    }
                    if feed.send(Ok(Frame::data(Bytes::from(text)))).await.is_err() {
                        return;
                    }
                }
                Line::End { .. } => return,
                _ => {}
            }
        }
        // It was open until the scenario cut it, or ended.
        feed.closed().await;
    }

    /// A part of an answer as the server would write it now, and its type.
    fn written(&self, body: &Value) -> (&'static str, String) {
        match self.state().stand_ins.put_into(body) {
            Value::String(text) => (TEXT, text),
            body => (JSON, body.to_string()),
        }
    }

    /// Until all has come that came before a line.
    async fn caused(&self, line: usize) {
        let mut reached = self.reached.subscribe();
        // The sender is ours.
        let _ = reached.wait_for(|reached| *reached > line).await;
    }

    /// Calls our webhook as the server did: where people registered it, trusting what our code wrote.
    async fn call(&self, review: &Value, answer: &Value) -> Result<(), String> {
        let stand_ins = self.state().stand_ins.clone();
        let field = |name| {
            let text = stand_ins.of_field(name);
            text.ok_or_else(|| format!("the webhook was called, and nobody has written {name}"))
        };
        let said = call::post(field(URL)?, field(BUNDLE)?, &stand_ins.put_into(review)).await?;
        let (then, now) = (call::opened(answer)?, call::opened(&said)?);
        compare(&stand_ins.put_into(&then), &now, &[], &stand_ins).map_err(|differences| {
            format!("the webhook answers otherwise than it did:\n  {}", differences.join("\n  "))
        })?;
        Ok(())
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain";
