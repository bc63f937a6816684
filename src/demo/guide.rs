//! What to try by hand while the shop is open: commands that can be pasted as they stand.

use super::fleet::{Fleet, Who};
use super::shop::NAMESPACE;

/// For a terminal.
pub(super) fn text(fleet: &Fleet) -> String {
    let entrance = fleet.entrance();
    let mut text = String::from("The shop is open. Through the mesh, as the workload shopper:\n");
    for path in ["/checkout/rope", "/catalogue", "/basket", "/follow"] {
        text.push_str(&format!("  curl http://{entrance}{path}\n"));
    }
    text.push_str("Ask a sidecar:\n");
    for (name, admin) in fleet.admins() {
        text.push_str(&format!("  outrigger proxy endpoints --admin {admin}   # {name}\n"));
    }
    text.push_str("Ask the control plane, as its operator:\n");
    for (variable, value) in [
        ("OUTRIGGER_CONTROL_PLANE", fleet.control_plane.listen.to_string()),
        ("OUTRIGGER_TRUST_ANCHORS", fleet.data("ca.pem").display().to_string()),
        ("OUTRIGGER_TOKEN_FILE", fleet.data("operator.token").display().to_string()),
    ] {
        text.push_str(&format!("  export {variable}={value}\n"));
    }
    text.push_str(&format!("  outrigger get workloads -n {NAMESPACE}\n"));
    text.push_str(&format!(
        "  outrigger get service web -n {NAMESPACE} -o yaml > web.yaml   # change it, then\n  \
         outrigger apply web.yaml\n"
    ));
    let admin = fleet.admin(Who::ControlPlane);
    text.push_str(&format!("  curl http://{admin}/   # its admin port\n"));
    let folder = fleet.folder.path().display();
    text.push_str(&format!("Configuration, data and logs: {folder}\n\n"));
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::shop::Shop;
    use super::*;

    #[test]
    fn everything_has_its_address() {
        let shop = Shop::lay_out().expect("ports");
        let fleet = Fleet::new(shop, Duration::from_secs(60)).expect("a folder");
        let text = text(&fleet);
        for part in [
            &format!("curl http://{}/basket", fleet.entrance()),
            &format!("OUTRIGGER_CONTROL_PLANE={}", fleet.control_plane.listen),
            &format!("curl http://{}/ ", fleet.control_plane.admin),
            "outrigger get workloads -n shop",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(text.matches("outrigger proxy endpoints").count(), 9);
    }
}
