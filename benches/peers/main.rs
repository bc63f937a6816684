//! Outrigger beside nginx, HAProxy and Envoy, as far as they are installed: the README's first table
//! of figures, and its chart. Measured, never judged.
//!
//! `cargo bench --bench peers`; some two and a half minutes a repetition. Real processes with one
//! worker each, on loopback, with load and apps in this process. Products take turns within each
//! figure, so that what the machine does meanwhile meets all of them, and each turn starts them anew.
//!
//! Words after `--`: a number of repetitions in place of 3, another build of the sidecar to measure
//! in place of this one, `--ours`, which leaves the peers out, and `--write`, which writes table and
//! chart into the README's places.

mod app;
mod bodies;
mod certificates;
mod chart;
mod churn;
mod counted;
mod envoy;
mod figures;
mod grpc;
mod handshakes;
mod haproxy;
#[path = "../hop/load.rs"]
mod load;
mod nginx;
mod outrigger_sidecar;
mod pace;
mod process;
#[path = "../processes.rs"]
mod processes;
mod product;
mod tcp;
mod turns;

use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use figures::Table;
use product::Product;
use turns::{Ends, Turn};

const MARKS: [&str; 2] = ["<!-- peers: begin -->\n", "<!-- peers: end -->"];

fn main() {
    let mut repetitions = 3;
    let (mut is_written, mut are_ours) = (false, false);
    let mut build = PathBuf::from(env!("CARGO_BIN_EXE_outrigger-proxy"));
    for word in std::env::args().skip(1).filter(|word| word != "--bench") {
        match word.parse() {
            Ok(number) => repetitions = number,
            Err(_) if word == "--write" => is_written = true,
            Err(_) if word == "--ours" => are_ours = true,
            Err(_) => build = word.into(),
        }
    }
    let (mut products, missing) = Product::all(&build);
    if are_ours {
        products.retain(Product::is_ours);
    } else {
        for name in missing {
            say(&format!("{name} is not installed, and is left out."));
        }
    }
    raise_descriptors();
    let table = measure(&products, repetitions);
    let of = match repetitions {
        1 => "One repetition.".to_owned(),
        many => format!("Medians of {many} repetitions, with the lowest and the highest of them."),
    };
    let text = format!("{}\n{of}\n", table.markdown());
    say(&text);
    if is_written {
        write(&text, &chart::svg(&table));
    }
}

fn measure(products: &[Product], repetitions: usize) -> Table {
    let mut table = Table::new(products.iter().map(|product| product.name.clone()).collect());
    let ends = Ends::new();
    for repetition in 0..repetitions {
        for turn in Turn::ALL {
            let of = repetition + 1;
            // The table is all that goes to standard output.
            let _ = writeln!(std::io::stderr(), "{of} of {repetitions}: {turn:?}");
            for nth in 0..products.len() {
                // Another one is first each time.
                let nth = (nth + repetition) % products.len();
                let product = &products[nth];
                if !turn.is_for(product.kind) {
                    continue;
                }
                let take = || ends.take(turn, product);
                match catch_unwind(AssertUnwindSafe(take)) {
                    Ok(values) => {
                        values.into_iter().for_each(|(figure, value)| {
                            table.put(figure, nth, value);
                        });
                    }
                    Err(panic) if product.is_ours() => resume_unwind(panic),
                    Err(_) => say(&format!("{turn:?} fails with {}: see above.", product.name)),
                }
            }
        }
    }
    table
}

/// Thousands of connections take as many descriptors, here and in each proxy.
fn raise_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a limit that outlives them.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
}

/// The table into the README, between its marks, and the chart beside this file.
fn write(table: &str, chart: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme).expect("the README is there");
    let (before, rest) = text.split_once(MARKS[0]).expect("the README has the first mark");
    let (_, after) = rest.split_once(MARKS[1]).expect("the README has the second mark");
    let text = format!("{before}{}\n{table}\n{}{after}", MARKS[0], MARKS[1]);
    fs::write(readme, text).expect("the README can be written");
    fs::write(root.join("benches/peers/figures.svg"), chart).expect("the chart can be written");
}

fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").expect("somebody reads this");
}
