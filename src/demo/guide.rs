//! What to try by hand while the shop is open: commands that can be pasted as they stand.

use super::fleet::{Fleet, Who};
use super::folder::CANARY_FILE;
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
    text.push_str(&routing(fleet));
    let admin = fleet.admin(Who::ControlPlane);
    text.push_str(&format!("Look at all of it in a browser:\n  http://{admin}/\n"));
    let folder = fleet.folder.path().display();
    text.push_str(&format!("Configuration, data and logs: {folder}\n\n"));
    text
}

/// Two versions of a service behind one name.
fn routing(fleet: &Fleet) -> String {
    let (entrance, canary) = (fleet.entrance(), fleet.folder.path().join(CANARY_FILE));
    let canary = canary.display();
    let web = fleet.of("web").map(|instance| instance.admin).next();
    let web = web.unwrap_or_else(|| fleet.admin(Who::ControlPlane));
    format!(
        "Send a tenth of the orders, and all that ask for it, to a new version:
  outrigger apply {canary}   # outrigger delete -f takes it back
  for i in $(seq 20); do curl -s http://{entrance}/checkout/rope; done
  curl -H 'x-version: v2' http://{entrance}/checkout/rope   # always at orders-2
  curl http://{web}/routes   # what web-1's sidecar makes of it
  outrigger explain orders.{NAMESPACE}:80 --method PUT --path /orders/1/rope --admin {web}
"
    )
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
            &format!("  http://{}/\n", fleet.control_plane.admin),
            "outrigger get workloads -n shop",
            &format!("outrigger apply {}", fleet.folder.path().join(CANARY_FILE).display()),
            "outrigger explain orders.shop:80 --method PUT",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(text.matches("outrigger proxy endpoints").count(), 9);
    }
}
