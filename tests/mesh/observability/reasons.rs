//! From a reason to what it means: the program, both admin ports, and words that are nearly right.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{App, ControlPlane, Pair, free_address};

fn explain(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.env_clear().arg("explain").args(arguments).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_reason_is_explained_without_asking_anybody() {
    let told = explain(&["circuit-open"]);
    let said = text(&told.stdout);
    assert!(told.status.success(), "{said}");
    for words in [
        "circuit-open: the circuit of every endpoint is open\nHTTP 503, gRPC unavailable\n",
        "\nWhat happened   ",
        "\nWhere to look   `outrigger proxy endpoints`",
        "\nWhat to change  ",
        "circuitBreaker.on",
        "outrigger_requests_total{reason=\"circuit-open\"}",
    ] {
        assert!(said.contains(words), "no {words:?} in\n{said}");
    }
    let told = explain(&["rate-limited", "-o", "json"]);
    let page: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!((&page["http"], &page["grpc"]), (&"429".into(), &"resource-exhausted".into()));
    let listed = text(&explain(&["--list"]).stdout);
    assert!(listed.lines().count() > 35 && listed.contains("drain-deadline"), "{listed}");
}

#[test]
fn a_word_that_is_nearly_right_is_set_right() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let (admin, nobody) = (mesh.outbound.admin.to_string(), free_address().to_string());
    for (arguments, hint) in [
        (&["circut-open", "--admin", &nobody][..], "did you mean `circuit-open`?"),
        (&["mtls_required", "--admin", &nobody], "did you mean `mtls-required`?"),
        (&["something", "--admin", &nobody], "outrigger explain --list"),
        (&["app", "--admin", &admin], "did you mean `app.default:80`?"),
        (&["ap.default", "--admin", &admin], "did you mean `app.default:80`?"),
    ] {
        let told = explain(arguments);
        let said = text(&told.stderr);
        assert_eq!(told.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(hint), "{arguments:?}: {said}");
    }
    let told = text(&explain(&["apo.default:80", "--admin", &admin]).stdout);
    assert!(told.contains("did you mean app.default:80?"), "{told}");
    let told = text(&explain(&["app:80", "--admin", &admin]).stdout);
    assert!(told.contains("sent"), "{told}");
}

#[test]
fn both_admin_ports_know_the_reasons() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let plane = ControlPlane::start(&[]);
    let pages = [mesh.outbound.json("/reasons"), plane.json("/reasons")];
    assert!(pages[0]["reasons"].as_array().is_some_and(|all| all.len() > 35), "{}", pages[0]);
    assert_eq!(pages[0], pages[1]);
    let page = mesh.outbound.json("/reasons/no-route");
    assert_eq!(page, plane.json("/reasons/no-route"));
    assert!(page["change"].as_str().is_some_and(|change| change.contains("rule")), "{page}");
    let missed = mesh.outbound.get("/reasons/no-rout");
    assert_eq!(missed.status(), 404);
    assert!(missed.text().contains("did you mean `no-route`?"), "{}", missed.text());
    let answer = plane.page("/reasons/x").expect("it answers");
    assert_eq!(answer.status(), 404);
}
