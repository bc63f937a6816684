//! Servers that people run, as Debian ships them: the server in one pod, its own client in another,
//! and no option set for the mesh's sake. Only where they listen and whom they let in is said.
//!
//! One speaks first and looks its clients' names up (MariaDB), one asks for encryption before it
//! says who it is (PostgreSQL), one speaks a protocol that begins like nothing else (Redis).

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::host::or_skip;
use crate::harness::pod::Pod;
use crate::harness::{Family, Pods, within};

/// What a client may take that nobody keeps waiting; a lookup of a name that nobody answers takes
/// ten seconds.
const AT_ONCE: Duration = Duration::from_secs(8);
/// Until a server is up that has to lay out its files first.
const START: Duration = Duration::from_secs(60);

/// A server's pod, a client's, and the server's names.
struct Bench {
    server: Pod,
    client: Pod,
    /// The service's, and the server's own.
    addresses: [IpAddr; 2],
    _pods: Pods,
}

impl Bench {
    fn new(family: Family, port: u16, programs: &[&str]) -> Option<Bench> {
        let missing = programs.iter().find(|program| !Path::new(program).exists());
        let found = missing.map_or(Ok(()), |_| Err(io::Error::from(io::ErrorKind::NotFound)));
        or_skip(found, &format!("a scenario needs {}", programs.join(" and ")))?;
        let pods = Pods::new(family)?;
        // A sidecar that may mark its leg to the app: see `runtime::exempt`.
        let server = pods.pod("db-1").may_mark().start();
        let client = pods.pod("client-1").start();
        let service = pods.service("db", 20, &format!("{{port: {port}}}"));
        let addresses = [service, server.ip];
        Some(Bench { server, client, addresses, _pods: pods })
    }

    /// Waits until the server answers itself.
    #[track_caller]
    fn await_answer(&self, line: &str) {
        let asks = || {
            let mut command = self.server.host.command("sh");
            command.args(["-c", line]).output().is_ok_and(|output| output.status.success())
        };
        within(START, &format!("{line:?} succeeds"), asks);
    }

    /// Runs a client by each of the server's names; what it printed, and that nothing kept it.
    #[track_caller]
    fn run(&self, line: impl Fn(IpAddr) -> String) -> [String; 2] {
        self.addresses.map(|ip| {
            let begun = Instant::now();
            let said = self.client.host.shell(&line(ip));
            eprintln!("{:?}: {}", begun.elapsed(), line(ip).lines().next().unwrap_or_default());
            assert!(begun.elapsed() < AT_ONCE, "{:?}: {}", begun.elapsed(), line(ip));
            said
        })
    }

    fn was_meshed(&self) {
        let plain = self.server.metric("outrigger_connections_total", &["inbound", "tls=\"none\""]);
        assert_eq!(plain, 0.0, "nothing came in plaintext");
        assert!(self.server.meshed_in() >= 2.0, "{} connections", self.server.meshed_in());
    }
}

#[test]
fn redis() {
    for family in Family::BOTH {
        let programs = ["/usr/bin/redis-server", "/usr/bin/redis-cli"];
        let Some(bench) = Bench::new(family, 6379, &programs) else { return };
        let line = "redis-server --bind '*' '-::*' --protected-mode no --save ''";
        let _server = bench.server.start_as("redis", line, "redis.log");
        bench.await_answer("redis-cli ping");
        let said =
            bench.run(|ip| format!("redis-cli -h {ip} set key of-{ip}\nredis-cli -h {ip} get key"));
        for (said, ip) in said.iter().zip(bench.addresses) {
            assert_eq!(*said, format!("OK\nof-{ip}\n"));
        }
        // Values of 10 kB, several at a time, and 50 connections at once.
        let said = bench.run(|ip| {
            format!("redis-benchmark -h {ip} -q --csv -n 2000 -d 10000 -t set,get -c 50 -P 4")
        });
        assert!(said.iter().all(|said| said.contains("\"GET\"")), "{said:?}");
        bench.was_meshed();
    }
}

#[test]
fn postgresql() {
    let folder = std::fs::read_dir("/usr/lib/postgresql").ok();
    let newest = folder.and_then(|all| all.flatten().map(|entry| entry.path().join("bin")).max());
    let bin = newest.unwrap_or_else(|| "/usr/lib/postgresql/bin".into()).display().to_string();
    for family in Family::BOTH {
        let programs = [&*format!("{bin}/postgres"), "/usr/bin/psql"];
        let Some(bench) = Bench::new(family, 5432, &programs) else { return };
        let as_postgres = "setpriv --reuid=postgres --regid=postgres --init-groups";
        bench.server.host.shell(&format!(
            "install -d -o postgres db\n{as_postgres} {bin}/initdb -D db -A trust --no-sync\n\
             printf 'host all all 0.0.0.0/0 trust\\nhost all all ::/0 trust\\n' >> db/pg_hba.conf"
        ));
        let line = format!("{bin}/postgres -D db -k \"$PWD/db\" -c 'listen_addresses=*'");
        let _server = bench.server.start_as("postgres", &line, "postgres.log");
        bench.await_answer("psql -h localhost -U postgres -c 'select 1'");
        let said = bench.run(|ip| {
            format!(
                "psql -qtA -h {ip} -U postgres <<'END'\n\
                 set client_min_messages = warning;\ndrop table if exists t;\n\
                 create table t (n int, pad text);\n\
                 insert into t select n, repeat('x', 500) from generate_series(1, 5000) n;\n\
                 select count(*), sum(n), sum(length(pad)) from t;\n\
                 select inet_client_addr();\nEND\n"
            )
        });
        for said in &said {
            // The server sees its own pod.
            let seen = format!("5000|12502500|2500000\n{}\n", bench.server.ip);
            assert_eq!(*said, seen);
        }
        let said = bench.run(|ip| format!("psql -h {ip} -U postgres -c 'select * from t' | wc -c"));
        assert!(said[0].trim().parse::<u64>().is_ok_and(|bytes| bytes > 2_500_000), "{said:?}");
        bench.was_meshed();
    }
}

#[test]
fn mariadb() {
    for family in Family::BOTH {
        let programs = ["/usr/sbin/mariadbd", "/usr/bin/mariadb-install-db", "/usr/bin/mariadb"];
        let Some(bench) = Bench::new(family, 3306, &programs) else { return };
        bench.server.host.folder.write(
            "init.sql",
            "create database if not exists shop;\n\
             create or replace user app@'%' identified by 'x';\n\
             grant all on shop.* to app@'%';\n",
        );
        bench.server.host.shell(
            "install -d -o mysql db\n\
             mariadb-install-db --user=mysql --datadir=\"$PWD/db\" --skip-test-db",
        );
        let line = "mariadbd --datadir=\"$PWD/db\" --socket=\"$PWD/db/socket\" \
                    --pid-file=\"$PWD/db/pid\" --bind-address='*' --init-file=\"$PWD/init.sql\"";
        let _server = bench.server.start_as("mysql", line, "mariadb.log");
        bench.await_answer("mariadb --socket=\"$PWD/db/socket\" -e 'select 1'");
        let said = bench.run(|ip| {
            format!(
                "mariadb -N -h {ip} -u app -px shop <<'END'\n\
                 create or replace table t (n int, pad text);\n\
                 insert into t select seq, repeat('x', 500) from seq_1_to_5000;\n\
                 select count(*), sum(n), sum(length(pad)) from t;\n\
                 select user();\nEND\n"
            )
        });
        for said in &said {
            // It looked its client's name up, and found its own pod's.
            assert_eq!(*said, "5000\t12502500\t2500000\napp@db-1\n");
        }
        bench.was_meshed();
    }
}
