//! The issuer in files that another program writes, followed by the control plane.

use std::time::Duration;

use super::Scene;
use super::elsewhere::Elsewhere;
use crate::harness::{ControlPlane, Folder, eventually, within};

#[test]
fn an_issuer_in_files_is_followed_and_a_broken_one_is_not() {
    let (folder, company) = (Folder::new("company"), Elsewhere::new("a company's root"));
    company.write(&folder);
    let path = |name: &str| folder.path(name).display().to_string();
    let (certificate, key, root) = (path("tls.crt"), path("tls.key"), path("ca.crt"));
    let flags =
        ["--issuer-certificate", &certificate, "--issuer-key", &key, "--issuer-root", &root];
    let lives = ["--cert-lifetime", "5s", "--lease", "2s"];
    let scene = Scene::set(ControlPlane::start(&[&lives[..], &flags[..]].concat()));
    let plane = &scene.plane;
    let status = plane.ca();
    assert_eq!(status["issuer"]["origin"], "files", "{status}");
    assert_eq!(status["roots"][0]["subject"], "CN=a company's root", "it begins with it: {status}");
    let refused = plane.run(&["ca", "rotate", "root"]);
    assert!(refused.code == Some(1) && refused.err.contains("come from files"), "{refused:?}");

    let (before, serials) = (plane.issuer(), scene.serials());
    company.write(&folder);
    eventually("the next issuer is in use", || plane.issuer() != before);
    scene.all_renewed(&serials);

    // Half of a pair, as a writer that is killed leaves it.
    let before = plane.issuer();
    folder.write("tls.crt", &company.issuer().0);
    plane.await_log("the issuer's files can't be used, and the issuer before stays in use");
    let refusals = || plane.metric("outrigger_control_issuer_files_total", &["refused"]);
    assert!(refusals() >= 1.0);
    assert_eq!(plane.issuer(), before);
    scene.load.goes_on(50);

    // Another root altogether comes in with overlap.
    let other = Elsewhere::new("another root");
    other.write(&folder);
    eventually("it is on its way", || plane.phase() == "distribute");
    within(Duration::from_secs(60), "it is the only one", || plane.ca()["rotation"].is_null());
    assert_eq!(plane.ca()["roots"][0]["subject"], "CN=another root");
    scene.load.goes_on(50);
    scene.load.lost_nothing();
}
