//! What a real sidecar needs in memory, however large the mesh is that it uses a little of.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::NAMESPACE;
use super::fleet::FOLLOWED;
use super::plane::{Plane, Process, free_address, service};
use super::table::{mib, row, show};

const MESHES: [usize; 3] = [20, 200, 2_000];
const SETTLE: Duration = Duration::from_secs(3);

/// Prints the table.
pub async fn measure() {
    let mut rows = vec![row(["services", "RSS MiB", "anonymous MiB"])];
    for services in MESHES {
        let plane = Plane::with_services(services).await;
        plane.grant("client", 1).await;
        let admin = free_address();
        let (config, log) = (plane.path("sidecar.yaml"), plane.path("sidecar.log"));
        fs::write(&config, configuration(&plane, admin)).expect("the folder is ours");
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger-proxy"));
        command.args(["run", "--config"]).arg(&config);
        let process = Process::spawn(command, &log);
        wait_ready(admin, &log).await;
        sleep(SETTLE).await;
        let (resident, anonymous) = process.memory();
        rows.push(row([services.to_string(), mib(resident), mib(anonymous)]));
    }
    show(&format!("Memory of a sidecar that uses {FOLLOWED} services, without traffic"), &rows);
}

fn configuration(plane: &Plane, admin: SocketAddr) -> String {
    let settings = plane.settings();
    let mut text = format!(
        "workload: {{namespace: {NAMESPACE}, name: client-1, serviceAccount: client}}\n\
         controlPlane:\n  address: \"{}\"\n  trustAnchors: {}\n  tokenFile: {}\n\
         admin: {{listen: \"{admin}\"}}\noutbound:\n  upstreams:\n",
        settings.address,
        settings.trust_anchors.display(),
        plane.token_file().display(),
    );
    for index in 0..FOLLOWED {
        let (listen, name) = (free_address(), service(index));
        let line = format!("    - {{listen: \"{listen}\", service: \"{name}.{NAMESPACE}:80\"}}");
        writeln!(text, "{line}").expect("a string takes everything");
    }
    text
}

async fn wait_ready(admin: SocketAddr, log: &Path) {
    for _ in 0..500 {
        if is_ready(admin).await.unwrap_or(false) {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("the sidecar is not ready:\n{}", fs::read_to_string(log).unwrap_or_default());
}

async fn is_ready(admin: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET /ready HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
