//! `outrigger dashboard`: the control plane's pages for a browser, which has no token to show.
//!
//! It listens on this machine alone, and everybody on it can reach that; so whoever comes needs the
//! link that was printed (`door`) and shown to a browser (`opening`). What they ask for is asked of
//! the control plane over TLS, with the operator's token (`forward`). The token itself never reaches
//! the browser.

mod door;
mod forward;
mod opening;

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use http::uri::Authority;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::super::{complain, emit};
use super::error::Error;
use super::place::Connection;
use super::session::Target;
use super::{Answer, conclude};
use crate::runtime::hyper_io::{HyperIo, WorkerTimer};
use door::Door;
use forward::Pages;
use opening::Opening;

/// Where the pages are unless something else is said.
const PORT: u16 = 15014;

/// A browser that opens a connection says what it wants of it, or it is closed.
const STEP: Duration = Duration::from_secs(30);

/// The dashboard in a browser.
#[derive(Args, Debug)]
pub(in crate::cli) struct Dashboard {
    /// The control plane's admin port (default: its host, port 15014)
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<Authority>,
    /// The port on this machine (default: any that is free)
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Only print the link
    #[arg(long)]
    no_open: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Dashboard {
    /// Serves until Ctrl-C.
    pub(in crate::cli) fn run(&self) -> ExitCode {
        conclude(self.serve())
    }

    async fn serve(&self) -> Result<Answer, Error> {
        let target = Target::of(&self.connection)?;
        let admin = self.admin.as_ref().map_or_else(|| beside(target.address()), with_port);
        let pages = Rc::new(Pages::new(target, admin)?);
        // What doesn't work is better said here than in a browser.
        pages.check().await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await;
        let listener = listener.map_err(Error::Port)?;
        let address = listener.local_addr().map_err(Error::Port)?;
        let door = Door::new(address.port()).ok_or(Error::Random)?;
        let link = door.link();
        emit(&format!("{link}\n"));
        let opening = if self.no_open { None } else { Opening::of(&link) };
        if !self.no_open && opening.is_none() {
            complain(&"open the link in a browser on this machine");
        }
        complain(&"the dashboard is open until Ctrl-C");
        let entrance = Rc::new(RefCell::new(Entrance { door, opening }));
        tokio::select! {
            () = accept(listener, &pages, &entrance) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(Answer::default())
    }
}

/// The pages of the control plane whose calls go to `address`.
fn beside(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    format!("{host}:{PORT}")
}

fn with_port(admin: &Authority) -> String {
    match admin.port() {
        Some(_) => admin.to_string(),
        None => format!("{admin}:{PORT}"),
    }
}

/// The door, and what leads to it until somebody came.
struct Entrance {
    door: Door,
    opening: Option<Opening>,
}

async fn accept(listener: TcpListener, pages: &Rc<Pages>, entrance: &Rc<RefCell<Entrance>>) {
    loop {
        let Ok((stream, client)) = listener.accept().await else {
            // Out of descriptors, mostly.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (pages, entrance) = (Rc::clone(pages), Rc::clone(entrance));
        let service = service_fn(move |request| {
            let (pages, entrance) = (Rc::clone(&pages), Rc::clone(&entrance));
            async move { Ok::<_, Infallible>(answer(&pages, &entrance, client, request).await) }
        });
        let connection = http1::Builder::new()
            .timer(WorkerTimer)
            .header_read_timeout(STEP)
            .serve_connection(HyperIo(stream), service);
        // A browser that leaves early is nobody's trouble.
        tokio::task::spawn_local(async move { drop(connection.await) });
    }
}

async fn answer(
    pages: &Pages,
    entrance: &RefCell<Entrance>,
    client: SocketAddr,
    request: http::Request<hyper::body::Incoming>,
) -> forward::Reply {
    let entry = entrance.borrow_mut().door.enter(&request, client);
    match entry {
        door::Entry::In => pages.ask(request).await,
        door::Entry::Out(answer) => forward::own(answer),
        door::Entry::Used { answer, next } => {
            entrance.borrow_mut().opening = None;
            complain(&format!("the link was used; another one: {next}"));
            forward::own(answer)
        }
        door::Entry::Again { answer, next } => {
            complain(&format!(
                "a link was used a second time: unless you did so yourself, somebody else on this \
                 machine had it first and saw the pages; nobody is let in any more; another one: \
                 {next}"
            ));
            forward::own(answer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_beside_the_calls_unless_something_else_is_said() {
        for (address, pages) in [
            ("control.example:15010", "control.example:15014"),
            ("[::1]:25010", "[::1]:15014"),
            ("127.0.0.1:1", "127.0.0.1:15014"),
        ] {
            assert_eq!(beside(address), pages);
        }
        for (said, pages) in [("a.example", "a.example:15014"), ("[::1]:7", "[::1]:7")] {
            assert_eq!(with_port(&said.parse().expect("an authority")), pages);
        }
    }
}
