//! The life of what certificates hang below: a root and an issuer replaced, by commands, by import
//! and by files, under load. Not a request may be lost.

mod elsewhere;
mod files;
mod life;
mod root;

use serde_json::Value;

use crate::harness::{App, ControlPlane, Load, Member, eventually, service};

pub const WEB: &str = "web.default:80";

impl ControlPlane {
    /// What `outrigger ca status` says.
    #[track_caller]
    pub fn ca(&self) -> Value {
        let text = self.done(&["ca", "status", "-o", "json"]);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The phase of a root's replacement; empty: none is under way.
    #[track_caller]
    pub fn phase(&self) -> String {
        self.ca()["rotation"]["phase"].as_str().unwrap_or_default().to_owned()
    }

    /// The fingerprint of what signs.
    #[track_caller]
    pub fn issuer(&self) -> String {
        self.ca()["issuer"]["fingerprint"].as_str().expect("a fingerprint").to_owned()
    }
}

/// Two instances of `web`, their caller, and 100 requests a second.
pub struct Scene {
    /// First, so that it ends before what it goes through.
    pub load: Load,
    pub plane: ControlPlane,
    pub members: Vec<Member>,
    _apps: [App; 2],
}

impl Scene {
    #[track_caller]
    pub fn set(plane: ControlPlane) -> Self {
        plane.apply(&service("web"));
        let apps = [App::ok(), App::ok()];
        // Each start is a use: of them there may be more than one where certificates end.
        let token = |account: &str| {
            let label = format!("app={account}");
            plane.token(account, &["--label", &label, "--uses", "100"])
        };
        let member = |name: &str, account: &str| plane.plan(name).token(&token(account));
        let members = vec![
            member("web-1", "web").app(apps[0].address).start(),
            member("web-2", "web").app(apps[1].address).start(),
            member("client-1", "client").calls(WEB).start(),
        ];
        eventually("both instances are known", || members[2].endpoints(WEB) == Some(2));
        let load = Load::steady(members[2].upstreams[0], 100);
        load.goes_on(20);
        Self { load, plane, members, _apps: apps }
    }

    /// Each has a certificate by another issuer than this one.
    #[track_caller]
    pub fn all_renewed(&self, before: &[String]) {
        eventually("everybody has another certificate", || {
            self.members.iter().zip(before).all(|(member, before)| member.serial() != *before)
        });
    }

    pub fn serials(&self) -> Vec<String> {
        self.members.iter().map(Member::serial).collect()
    }
}

#[test]
fn an_issuer_is_replaced_at_once_under_load() {
    let scene = Scene::set(ControlPlane::start(&["--cert-lifetime", "6s"]));
    for _ in 0..3 {
        let (before, serials) = (scene.plane.issuer(), scene.serials());
        let said = scene.plane.done(&["ca", "rotate", "issuer"]);
        assert!(said.contains("replaced by itself in "), "{said}");
        let after = scene.plane.issuer();
        assert_ne!(before, after);
        scene.load.goes_on(50);
        scene.all_renewed(&serials);
    }
    assert_eq!(scene.plane.ca()["roots"].as_array().map(Vec::len), Some(1));
    scene.load.lost_nothing();
}
