//! `cargo run --release -p lunasec-bench`: the rows of the design's performance table that exist,
//! as a Markdown table.
//!
//! Every rate is taken beside a bare hyper echo on a Unix socket with the same body sizes, in the
//! same run: servers on one core, load on the other, rounds interleaved, medians reported. On a
//! shared machine the ratios mean something and the absolute numbers little.
//!
//! `grants`, `cache`, `outage`, `journal` and `audit` as an argument measure these rows alone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measurement that cannot be made must say so and stop"
)]

mod audit;
mod batch;
mod cache;
mod cloud;
mod echo;
mod grants;
mod journal;
mod load;
mod outage;
mod process;
mod rates;
mod start;

use std::env;

fn main() {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        // The floor runs as a process of its own, like what it is compared with.
        Some("echo") => echo::serve(arguments.next().expect("a socket").as_ref()),
        Some("grants") => grants::measure(7).iter().for_each(|row| println!("{row}")),
        // Alone in its process too: what others leave behind would count.
        Some("cache") => cache::measure().iter().for_each(|row| println!("{row}")),
        Some("audit") => audit::measure(5).iter().for_each(|row| println!("{row}")),
        Some("outage") => outage::measure(7).iter().for_each(|row| println!("{row}")),
        Some("journal") => journal::measure(7).iter().for_each(|row| println!("{row}")),
        Some("--rounds") => {
            report(arguments.next().and_then(|n| n.parse().ok()).expect("a number"))
        }
        None => report(7),
        Some(other) => panic!("unknown argument {other}; see the module's documentation"),
    }
}

fn report(rounds: usize) {
    println!("machine: {}, rounds: {rounds}\n", process::machine());
    println!("| figure | measured | must | aim |");
    println!("| --- | --- | --- | --- |");
    for row in rates::measure(rounds) {
        println!("{row}");
    }
    println!("{}", batch::measure(rounds));
    print!("{}", process::of_our_own("cache"));
    let rest = start::measure(rounds).into_iter().chain(cloud::measure());
    let outages = outage::measure(rounds).into_iter().chain(journal::measure(rounds));
    for row in rest.chain(grants::measure(rounds)).chain(outages) {
        println!("{row}");
    }
}

/// One row of the table.
pub(crate) fn row(figure: &str, measured: &str, must: &str, aim: &str) -> String {
    format!("| {figure} | {measured} | {must} | {aim} |")
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
