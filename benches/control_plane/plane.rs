//! The control plane as a process, and an operator's calls to it.
//!
//! Its folder and process end with the value; the kernel ends the process, too, when this one dies.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outrigger::agent::session::{Settings, dial};
use outrigger::model::TrustDomain;
use outrigger::wire::Channel;
use outrigger::wire::v1::configuration_client::ConfigurationClient;
use outrigger::wire::v1::tokens_client::TokensClient;
use outrigger::wire::v1::{self, ApplyRequest, DeleteRequest};
use tokio::time::{Instant, sleep};
use tonic::Request;

use super::NAMESPACE;

/// Services in one call: a few thousand resources, below what a call may bring.
const BATCH: usize = 500;
/// Workloads of each service.
const WORKLOADS: usize = 3;

pub struct Plane {
    pub address: SocketAddr,
    admin: SocketAddr,
    folder: Folder,
    process: Process,
    operator: Option<Operator>,
    /// How its cluster is reached, if it has one.
    cluster: Option<PathBuf>,
}

struct Operator {
    channel: Channel,
    token: String,
}

impl Plane {
    /// A control plane in a folder of its own, with this many services.
    pub async fn with_services(count: usize) -> Self {
        let (address, admin) = (free_address(), free_address());
        let folder = Folder::new();
        let process = start(&folder, address, admin, None);
        let mut plane = Self { address, admin, folder, process, operator: None, cluster: None };
        plane.operator = Some(plane.come_in().await);
        let names: Vec<usize> = (0..count).collect();
        for batch in names.chunks(BATCH) {
            let text: Vec<String> = batch.iter().map(|index| documents(*index)).collect();
            plane.apply(text.join("---\n")).await;
        }
        plane
    }

    /// One of a cluster.
    pub async fn of_cluster(kubeconfig: PathBuf) -> Self {
        let (address, admin) = (free_address(), free_address());
        let folder = Folder::new();
        let process = start(&folder, address, admin, Some(&kubeconfig));
        let cluster = Some(kubeconfig);
        let mut plane = Self { address, admin, folder, process, operator: None, cluster };
        plane.operator = Some(plane.come_in().await);
        plane
    }

    async fn come_in(&self) -> Operator {
        for _ in 0..500 {
            if let Ok(dialling) = dial(&self.settings(), &TrustDomain::default(), None, &None)
                && let Ok(channel) = dialling.await
            {
                let token = fs::read_to_string(self.folder.path("operator.token"));
                let token = token.expect("it is made before the port opens").trim().to_owned();
                return Operator { channel, token };
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("the control plane does not answer:\n{}", self.log());
    }

    /// Where its pages are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// As a sidecar is told.
    pub fn settings(&self) -> Settings {
        Settings {
            address: self.address.to_string(),
            trust_anchors: self.folder.path("ca.pem"),
            newest_anchors: None,
            token_file: Some(self.token_file()),
        }
    }

    /// Where [`Plane::grant`] puts the newest token.
    pub fn token_file(&self) -> PathBuf {
        self.folder.path("join.token")
    }

    /// A place for another process's files.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    /// SIGKILL, and at once another process in its place.
    pub fn kill_and_restart(&mut self) {
        self.operator = None;
        self.process.end();
        self.process = start(&self.folder, self.address, self.admin, self.cluster.as_deref());
    }

    /// SIGTERM, and once it has left another process in its place; how long that took.
    pub async fn replace(&mut self) -> Duration {
        self.operator = None;
        let told = Instant::now();
        self.process.leave().await;
        let left = told.elapsed();
        self.process = start(&self.folder, self.address, self.admin, self.cluster.as_deref());
        left
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path("log")).unwrap_or_default()
    }

    /// Applies documents.
    ///
    /// # Panics
    /// When there are faults.
    pub async fn apply(&self, text: String) {
        let documents = vec![v1::Document { source: "bench".into(), text }];
        let request = ApplyRequest { documents, ..Default::default() };
        let answer = self.configuration().apply(self.request(request)).await;
        let answer = answer.expect("an answer").into_inner();
        assert!(answer.faults.is_empty(), "{:?}", answer.faults);
    }

    /// Deletes a workload.
    ///
    /// # Panics
    /// When there is none.
    pub async fn delete_workload(&self, name: &str) {
        let (kind, namespace) = ("Workload".into(), NAMESPACE.into());
        let key = v1::ResourceKey { kind, namespace, name: name.into() };
        let request = DeleteRequest { keys: vec![key], ..Default::default() };
        let answer = self.configuration().delete(self.request(request)).await;
        let answer = answer.expect("an answer").into_inner();
        assert!(answer.faults.is_empty(), "{:?}", answer.faults);
    }

    /// Puts a token for a service account into [`Plane::token_file`]: it may register as one of
    /// the first service's workloads.
    pub async fn grant(&self, service_account: &str, uses: u32) {
        let request = v1::CreateTokenRequest {
            namespace: NAMESPACE.into(),
            service_account: service_account.into(),
            labels: [("app".to_owned(), service(0))].into(),
            address: String::new(),
            ttl_ms: 3_600_000,
            uses,
        };
        let operator = self.operator.as_ref().expect("there is one until a restart");
        let mut client = TokensClient::new(operator.channel.clone());
        let answer = client.create(self.request(request)).await.expect("a token").into_inner();
        fs::write(self.token_file(), answer.token).expect("the folder is ours");
    }

    fn configuration(&self) -> ConfigurationClient<Channel> {
        let operator = self.operator.as_ref().expect("there is one until a restart");
        ConfigurationClient::new(operator.channel.clone()).max_decoding_message_size(64 << 20)
    }

    fn request<M>(&self, message: M) -> Request<M> {
        let operator = self.operator.as_ref().expect("there is one until a restart");
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", operator.token).parse().expect("a legal header");
        request.metadata_mut().insert("authorization", bearer);
        request
    }
}

fn start(
    folder: &Folder,
    address: SocketAddr,
    admin: SocketAddr,
    cluster: Option<&Path>,
) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.arg("control-plane").arg("--data").arg(folder.path(".")).args([
        "--listen",
        &address.to_string(),
        "--admin-listen",
        &admin.to_string(),
    ]);
    if let Some(kubeconfig) = cluster {
        command.args(["--kubernetes", "--kubeconfig"]).arg(kubeconfig);
    }
    Process::spawn(command, &folder.path("log"))
}

/// The name of a service.
pub fn service(index: usize) -> String {
    format!("s-{index}")
}

/// A service and its workloads.
fn documents(index: usize) -> String {
    let name = service(index);
    let mut text = format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {NAMESPACE}}}, spec: \
         {{selector: {{app: {name}}}, ports: [{{name: http, port: 80, targetPort: http}}]}}}}\n"
    );
    for number in 0..WORKLOADS {
        let address = format!("10.{}.{}.{}", index / 250, index % 250, number + 1);
        text += &format!("---\n{}", workload(&format!("{name}-{number}"), index, &address));
    }
    text
}

/// A workload of a service.
pub fn workload(name: &str, service_index: usize, address: &str) -> String {
    let app = service(service_index);
    format!(
        "{{apiVersion: outrigger.dev/v1alpha1, kind: Workload, metadata: {{name: {name}, namespace: \
         {NAMESPACE}, labels: {{app: {app}}}}}, spec: {{address: {address}, serviceAccount: {app}, \
         ports: [{{name: http, port: 8080, meshPort: 18080}}]}}}}\n"
    )
}

/// An address that nobody listens on right now.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound")
}

/// A process that ends with its value.
pub struct Process(Child);

impl Process {
    /// Logs into a file, after what is in it.
    pub fn spawn(mut command: Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let (out, errors) = (log.try_clone().expect("a descriptor"), log);
        command.env_clear().stdin(Stdio::null()).stdout(out).stderr(errors);
        // SAFETY: the call is allowed between fork and exec, and touches nothing of ours.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        Self(command.spawn().expect("the binary starts"))
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// SIGTERM, until it has left.
    async fn leave(&mut self) {
        let id = libc::pid_t::try_from(self.0.id()).expect("a process id");
        // SAFETY: the child has not been waited for, so that the id is still its own.
        unsafe { libc::kill(id, libc::SIGTERM) };
        while self.0.try_wait().expect("it is our child").is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Resident memory, in bytes; and of that, what no file stands behind.
    pub fn memory(&self) -> (u64, u64) {
        let text = self.proc("smaps_rollup");
        (bytes(&text, "Rss:"), bytes(&text, "Anonymous:"))
    }

    /// The most that was ever resident, in bytes.
    pub fn peak(&self) -> u64 {
        bytes(&self.proc("status"), "VmHWM:")
    }

    /// CPU time so far, also of threads that ended.
    pub fn cpu(&self) -> Duration {
        cpu_of(&self.proc("stat"))
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).expect("it runs")
    }
}

fn bytes(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let value = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    value.expect("a number of KiB") * 1024
}

/// CPU time by a process's `stat`, also of threads that ended.
pub fn cpu_of(stat: &str) -> Duration {
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on every Linux that matters.
    Duration::from_millis(ticks * 10)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// A folder that goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        use std::os::unix::fs::DirBuilderExt;
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger-bench-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).expect("a temporary folder");
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
