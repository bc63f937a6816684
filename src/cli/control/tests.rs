//! The commands against a control plane in this process, which speaks the real protocol without
//! TLS and holds what it is told in memory.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::output::Format;
use super::apply::Apply;
use super::contexts::Contexts;
use super::delete::Delete;
use super::error::Error;
use super::get::Get;
use super::place::{Field, Place};
use super::session::Target;
use super::token::Token;
use super::{Answer, watch};
use crate::identity::issue::Authority;
use crate::model::TrustDomain;
use crate::runtime::workers::local_runtime;
use server::Server;

mod server;

/// A folder that exists for as long as this.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Folder {
        let name = format!("outrigger-test-{}", uuid::Uuid::now_v7().simple());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a folder of its own");
        Folder(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[derive(Parser)]
struct Line<A: Args> {
    #[command(flatten)]
    arguments: A,
}

fn arguments<A: Args>(line: &str) -> A {
    Line::parse_from(std::iter::once("x").chain(line.split_whitespace())).arguments
}

#[derive(Parser)]
struct Verb<S: Subcommand> {
    #[command(subcommand)]
    verb: S,
}

fn verb<S: Subcommand>(line: &str) -> S {
    Verb::parse_from(std::iter::once("x").chain(line.split_whitespace())).verb
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    local_runtime().expect("a runtime").block_on(test)
}

async fn apply(server: &Server, line: &str, text: &str) -> Result<String, Error> {
    let apply = arguments::<Apply>(&format!("-f - {line}"));
    apply.ask(&server.target(), text.as_bytes(), false).await.map(|answer| answer.data)
}

async fn get(server: &Server, line: &str) -> Result<String, Error> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
    arguments::<Get>(line).ask(&server.target(), now).await.map(|answer| answer.data)
}

async fn delete(server: &Server, line: &str) -> Result<Answer, Error> {
    arguments::<Delete>(line).ask(&server.target(), io::empty(), false).await
}

fn service(name: &str, port: u16) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{port: {port}}}]}}\n"
    )
}

#[test]
fn what_is_applied_is_held_and_can_be_fed_back() {
    block_on(async {
        let server = Server::start().await;
        let both = service("web", 80) + &service("db", 5432);
        let said = apply(&server, "", &both).await.expect("sound");
        assert_eq!(said, "Service web.shop created\nService db.shop created\n");
        let said = apply(&server, "", &service("web", 80)).await.expect("sound");
        assert_eq!(said, "Service web.shop unchanged\n");
        let table = get(&server, "services -n shop").await.expect("held");
        assert!(
            table.starts_with("NAMESPACE  NAME  PORTS  ADDRESS  SOURCE   AGE  VERSION\n"),
            "{table}"
        );
        assert_eq!(table.lines().count(), 3, "{table}");
        assert_eq!(get(&server, "services").await.expect("held"), "no resources\n");
        assert_eq!(get(&server, "all -A").await.expect("held").lines().count(), 3);

        let one = get(&server, "service web -n shop -o yaml").await.expect("held");
        assert!(one.contains("resourceVersion: "), "{one}");
        let changed = one.replace("port: 80", "port: 81");
        let said = apply(&server, "", &changed).await.expect("it has the right version");
        assert_eq!(said, "Service web.shop updated\n");
        let lost = apply(&server, "", &changed).await.expect_err("somebody was faster");
        assert!(lost.to_string().contains("read it again"), "{lost}");
    });
}

#[test]
fn a_dry_run_shows_and_changes_nothing() {
    block_on(async {
        let server = Server::start().await;
        apply(&server, "", &service("web", 80)).await.expect("sound");
        let said = apply(&server, "--dry-run", &service("web", 81)).await.expect("sound");
        assert!(said.starts_with("Service web.shop updated (dry run)\n@@ "), "{said}");
        assert!(said.contains("\n-") && said.contains("\n+"), "{said}");
        let said = apply(&server, "", &service("web", 80)).await.expect("sound");
        assert_eq!(said, "Service web.shop unchanged\n");
    });
}

#[test]
fn faults_are_those_of_validate_and_nothing_is_applied() {
    block_on(async {
        let server = Server::start().await;
        let folder = Folder::new();
        let file = folder.path("shop.yaml");
        let text = service("web", 80) + &service("db", 0);
        std::fs::write(&file, &text).expect("written");
        let local = crate::resources::read(std::slice::from_ref(&file), "default");
        let local: Vec<String> =
            local.expect_err("faulty").iter().map(ToString::to_string).collect();
        let line = arguments::<Apply>(&folder.path("").display().to_string());
        let told = line.ask(&server.target(), io::empty(), false).await;
        let Err(Error::Faults(faults)) = told else { panic!("{told:?} is no list of faults") };
        assert_eq!(faults, local);
        assert_eq!(get(&server, "all -A").await.expect("held"), "no resources\n");
    });
}

#[test]
fn deleting_by_name_and_by_file() {
    block_on(async {
        let server = Server::start().await;
        let both = service("web", 80) + &service("db", 5432);
        apply(&server, "", &both).await.expect("sound");
        let dry = delete(&server, "svc web -n shop --dry-run").await.expect("it is there");
        assert!(dry.data.starts_with("Service web.shop deleted (dry run)\n@@ "), "{}", dry.data);
        let gone = delete(&server, "svc web -n shop").await.expect("it is there");
        assert_eq!(gone.data, "Service web.shop deleted\n");
        let Err(Error::Faults(faults)) = delete(&server, "svc web -n shop").await else {
            panic!("it can't go twice")
        };
        assert_eq!(faults, ["there is no Service web.shop"]);
        let none = delete(&server, "svc web -n shop --ignore-missing").await.expect("ignored");
        assert_eq!((none.data.as_str(), none.remark.is_empty()), ("", false));
        let folder = Folder::new();
        std::fs::write(folder.path("shop.yaml"), both).expect("written");
        let line = format!("--ignore-missing -f {}", folder.path("").display());
        let gone = delete(&server, &line).await.expect("ignored");
        assert_eq!(gone.data, "Service db.shop deleted\n");
        let missing = get(&server, "service db -n shop").await.expect_err("gone");
        assert!(missing.to_string().contains("there is no Service db.shop"), "{missing}");
    });
}

#[test]
fn tokens_are_made_shown_once_and_revoked() {
    block_on(async {
        let server = Server::start().await;
        let now = SystemTime::UNIX_EPOCH;
        let ask = async |line: &str| verb::<Token>(line).ask(&server.target(), now).await;
        let line = "create -n shop -s web --label app=web --address 10.0.0.7 --ttl 2h --uses 3";
        let made = ask(line).await.expect("made");
        assert_eq!(made.data, "token-of-1\n");
        let facts = "token 1: web of namespace shop may join with it 3 times, until 1970-01-01T02";
        assert!(made.remark.starts_with(facts), "{}", made.remark);
        let list = ask("list").await.expect("listed").data;
        let row = list.lines().nth(1).unwrap_or_default();
        for part in ["web", "app=web", "10.0.0.7/32", "2h", "3"] {
            assert!(row.contains(part), "{list} lacks {part}");
        }
        assert!(!list.contains("token-of"), "{list}");
        assert_eq!(ask("revoke 1").await.expect("it is there").data, "token 1 revoked\n");
        assert_eq!(ask("list").await.expect("listed").data, "no tokens\n");
        let error = ask("revoke 1").await.expect_err("it is gone");
        assert!(error.to_string().contains("there is no token 1"), "{error}");
    });
}

#[test]
fn a_stranger_and_nobody_are_told_apart() {
    block_on(async {
        let server = Server::start().await;
        let stranger = Target::plain(server.address(), "Bearer wrong");
        let get = arguments::<Get>("services");
        let error = get.ask(&stranger, SystemTime::UNIX_EPOCH).await.expect_err("not let in");
        assert!(error.to_string().contains("operator.token"), "{error}");
        assert!(!error.is_passing());
        let target = server.target();
        drop(server);
        let error = get.ask(&target, SystemTime::UNIX_EPOCH).await.expect_err("nobody");
        assert!(error.to_string().contains("--control-plane"), "{error}");
        assert!(error.is_passing());
    });
}

#[test]
fn who_can_not_prove_to_be_the_control_plane_is_told_nothing() {
    block_on(async {
        let server = Server::start().await;
        let folder = Folder::new();
        let root = Authority::new(&TrustDomain::default()).expect("a root");
        std::fs::write(folder.path("ca.pem"), root.root_pem()).expect("written");
        std::fs::write(folder.path("token"), "secret").expect("written");
        let path = |name: &str| folder.path(name).display().to_string();
        let place = Place::with(&[
            (Field::ControlPlane, &server.address().to_string()),
            (Field::TrustAnchors, &path("ca.pem")),
            (Field::TokenFile, &path("token")),
        ]);
        let target = Target::at(&place).expect("complete");
        let get = arguments::<Get>("services");
        let error = get.ask(&target, SystemTime::UNIX_EPOCH).await.expect_err("no TLS there");
        assert!(matches!(error, Error::Stranger { .. }), "{error}");
        assert!(error.to_string().contains("--trust-anchors"), "{error}");
    });
}

struct Heard(mpsc::UnboundedSender<String>);

impl watch::Show for Heard {
    fn data(&mut self, text: &str) -> io::Result<()> {
        self.0.send(text.to_owned()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn remark(&mut self, line: &str) {
        let _ = self.0.send(format!("# {line}"));
    }
}

type Lines = mpsc::UnboundedReceiver<String>;

/// Watches in the background; the lines are the watcher's.
fn watching(server: &Server, line: &str, format: Format) -> Lines {
    let (hear, heard) = mpsc::unbounded_channel();
    let (target, scope) = (server.target(), arguments::<Get>(line).scope());
    tokio::task::spawn_local(async move {
        let mut show = Heard(hear);
        let ended = watch::watch(&target, &scope, format, &mut show).await;
        let Err(error) = ended;
        watch::Show::remark(&mut show, &format!("ended: {error}"));
    });
    heard
}

async fn next(lines: &mut Lines) -> String {
    let line = timeout(Duration::from_secs(20), lines.recv()).await;
    line.expect("something is said").expect("the watch goes on")
}

#[test]
fn a_watch_shows_what_there_is_then_what_changes() {
    block_on(async {
        let server = Server::start().await;
        apply(&server, "", &service("web", 80)).await.expect("sound");
        let mut lines = watching(&server, "services -n shop", Format::Table);
        let table = next(&mut lines).await;
        assert!(table.starts_with("NAMESPACE  NAME") && table.contains("  present\n"), "{table}");
        apply(&server, "", &service("web", 81)).await.expect("sound");
        let line = next(&mut lines).await;
        assert!(line.contains("  81 ") && line.ends_with("  changed\n"), "{line}");
        apply(&server, "", &service("much-longer", 1)).await.expect("sound");
        assert!(next(&mut lines).await.ends_with("  new\n"));
        delete(&server, "svc web -n shop").await.expect("it is there");
        let line = next(&mut lines).await;
        assert!(line.starts_with("shop ") && line.ends_with("  gone\n"), "{line}");
    });
}

#[test]
fn after_a_restart_a_watch_shows_only_what_changed_meanwhile() {
    block_on(async {
        let mut server = Server::start().await;
        let both = service("web", 80) + &service("db", 5432) + &service("old", 1);
        apply(&server, "", &both).await.expect("sound");
        let mut lines = watching(&server, "all -n shop", Format::Json);
        for name in ["db", "old", "web"] {
            let line = next(&mut lines).await;
            assert!(line.contains("\"change\":\"present\"") && line.contains(name), "{line}");
        }
        server.stop().await;
        let line = next(&mut lines).await;
        assert!(line.starts_with("# ") && line.ends_with("; trying again"), "{line}");
        server.fake().put(&service("web", 81));
        server.fake().remove("Service", "shop", "old");
        server.resume().await;
        assert!(next(&mut lines).await.starts_with("# connected again"));
        let line = next(&mut lines).await;
        assert!(line.contains("\"change\":\"changed\"") && line.contains("web"), "{line}");
        let line = next(&mut lines).await;
        assert!(line.contains("\"change\":\"gone\"") && line.contains("old"), "{line}");
        apply(&server, "", &service("new", 2)).await.expect("sound");
        assert!(next(&mut lines).await.contains("\"change\":\"new\""));
    });
}

#[test]
fn a_watch_of_a_stranger_ends() {
    block_on(async {
        let server = Server::start().await;
        let target = Target::plain(server.address(), "Bearer wrong");
        let scope = arguments::<Get>("all -A").scope();
        let (hear, _heard) = mpsc::unbounded_channel();
        let ended = watch::watch(&target, &scope, Format::Yaml, &mut Heard(hear)).await;
        let Err(error) = ended;
        assert!(error.to_string().contains("operator.token"), "{error}");
    });
}

#[test]
fn contexts_are_set_used_and_shown() {
    let folder = Folder::new();
    let file = folder.path("context.yaml").display().to_string();
    let variable = |name: &str| (name == "OUTRIGGER_CONTEXT_FILE").then(|| file.clone());
    let act = |line: &str| verb::<Contexts>(line).act(&variable);
    assert_eq!(act("list").expect("an absent file is empty").data, "no contexts\n");
    assert!(act("show").expect("none").remark.contains("context set"));
    let line = "set a --control-plane a:1 --trust-anchors ca.pem --token-file /t";
    assert!(act(line).expect("set").remark.ends_with("(in use)"));
    let here = std::env::current_dir().expect("a folder").join("ca.pem").display().to_string();
    let shown = act("show -o yaml").expect("in use").data;
    assert_eq!(
        shown,
        format!("name: a\ncontrolPlane: \"a:1\"\ntrustAnchors: {here}\ntokenFile: /t\n")
    );
    act("set b --control-plane b:1").expect("set");
    act("set a --certificate /c --key /k").expect("set");
    let shown = act("show a -o yaml").expect("there").data;
    assert!(
        shown.contains("a:1") && shown.contains("/k") && !shown.contains("tokenFile"),
        "{shown}"
    );
    assert!(act("use c").expect_err("none").to_string().contains("there are a, b"));
    assert!(
        act("set c --control-plane nowhere")
            .expect_err("no port")
            .to_string()
            .contains("host:port")
    );
    act("use b").expect("it is there");
    assert!(act("show").expect("in use").data.contains("b:1"));
    let list = act("list").expect("two").data;
    assert_eq!(list.lines().filter(|line| line.ends_with("  true")).count(), 1, "{list}");
}

#[test]
fn what_a_command_needs_is_asked_for() {
    fn refused<A: Args>(line: &str) {
        let line = std::iter::once("x").chain(line.split_whitespace());
        assert!(Line::<A>::try_parse_from(line.clone()).is_err(), "{:?}", line.collect::<Vec<_>>());
    }
    refused::<Apply>("");
    refused::<Delete>("");
    refused::<Delete>("service");
    refused::<Delete>("all web");
    refused::<Delete>("service web -f x");
    refused::<Get>("");
    refused::<Get>("colours");
    refused::<Get>("services web -A");
    refused::<Get>("services -n shop -A");
    let both = arguments::<Apply>("-f a -f b c d --filename e");
    assert!(
        format!("{both:?}").contains(r#"files: ["a", "b", "e"], paths: ["c", "d"]"#),
        "{both:?}"
    );
}
