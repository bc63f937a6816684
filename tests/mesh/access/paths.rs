//! Tricks with paths: what is judged is what the app gets.

use super::{govern, meshed, under};
use crate::harness::{App, Mesh, eventually, get};

/// The status, and what the app saw.
fn asked(mesh: &Mesh, app: &App, path: &str) -> (u16, Option<String>) {
    let before = app.requests().len();
    let status = meshed(mesh, "web").ask(get(path)).status();
    let target = app.requests().get(before).map(|request| request.target().to_owned());
    (status, target)
}

#[test]
fn no_way_of_writing_a_path_gets_past_a_rule_that_denies_it() {
    let app = App::ok();
    let mesh = under(app.address, "rules: [{action: deny, to: [{paths: [/admin, \"/admin/*\"]}]}]");
    let tricks = [
        "/admin",
        "/admin/",
        "/admin/users",
        "//admin/users",
        "/admin//users",
        "/./admin/users",
        "/x/../admin/users",
        "/x/%2e%2e/admin/users",
        "/x/%2E%2e/admin/users",
        "/x/.%2e/admin/users",
        "/%61dmin/users",
        "/%61%64%6D%69%6e/users",
        "/admin;a=b/users",
        "/;/admin/users",
        "/x/..;/admin/users",
        "/x/..;a=b/admin/users",
        "/admin%2Fusers",
        "/admin%2fusers",
        "/x%2f..%2fadmin%2Fusers",
        "/x/..%5Cadmin%5cusers",
        "/admin%5Cusers",
        "/admin?x=/open",
        "/../../admin",
        "/admin/%",
        "/admin/%zz",
    ];
    for path in tricks {
        let (status, seen) = asked(&mesh, &app, path);
        assert!(matches!(status, 403 | 400) && seen.is_none(), "{path}: {status} {seen:?}");
    }
    assert_eq!(asked(&mesh, &app, "/open").0, 200);
}

#[test]
fn no_way_of_writing_a_path_gets_more_than_a_rule_allows() {
    let app = App::ok();
    let mesh = under(app.address, "rules: [{action: allow, to: [{paths: [\"/open/*\"]}]}]");
    let rows = [
        ("/open/a?b=//c", 200, Some("/open/a?b=//c")),
        ("/open//a", 200, Some("/open/a")),
        ("//open/a", 200, Some("/open/a")),
        ("/open/%61/%7e", 200, Some("/open/a/~")),
        ("/x/../open/a", 200, Some("/open/a")),
        ("/open/a%2fb", 200, Some("/open/a%2Fb")),
        ("/open/a;b", 200, Some("/open/a;b")),
        ("/open/../admin", 403, None),
        ("/open/%2e%2e/admin", 403, None),
        ("/open/a/../../admin", 403, None),
        ("/open%2Fa", 403, None),
        ("/open;x/a", 403, None),
        ("/open", 403, None),
        ("/OPEN/a", 403, None),
        ("/open/%", 403, None),
    ];
    for (path, status, seen) in rows {
        let found = asked(&mesh, &app, path);
        assert_eq!(found, (status, seen.map(str::to_owned)), "{path}");
    }
}

#[test]
fn where_no_rule_asks_for_paths_the_app_gets_them_as_they_came() {
    let app = App::ok();
    let mesh = under(app.address, "rules: [{action: deny, to: [{methods: [DELETE]}]}]");
    for path in ["//a/./b/../c", "/%61%2e%2E/x", "/a;b//c", "/%"] {
        assert_eq!(asked(&mesh, &app, path), (200, Some(path.to_owned())));
    }
    govern(&mesh, "ports: [1], rules: [{action: deny, to: [{paths: [/x]}]}]");
    assert_eq!(asked(&mesh, &app, "//a"), (200, Some("//a".to_owned())));
    govern(&mesh, "rules: [{action: deny, to: [{paths: [/x]}]}]");
    eventually("the app gets it normalised", || {
        asked(&mesh, &app, "//a/./b/../c?d=//e") == (200, Some("/a/c?d=//e".to_owned()))
    });
}

#[test]
fn what_has_no_path_is_let_in_by_no_rule_for_paths() {
    let app = App::ok();
    let head = |method: &str, target: &str| {
        format!("{method} {target} HTTP/1.1\r\nhost: app.default\r\n\r\n")
    };
    for (rule, status) in [("allow", 403), ("deny", 403)] {
        let spec = format!("rules: [{{action: {rule}, to: [{{paths: [\"/open/*\"]}}]}}]");
        let mesh = under(app.address, &spec);
        let mut wire = meshed(&mesh, "web");
        assert_eq!(wire.ask(head("OPTIONS", "*")).status(), status, "{rule}");
    }
    assert_eq!(app.requests().len(), 0);
}
