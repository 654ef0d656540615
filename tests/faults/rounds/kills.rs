//! kill -9 at random moments, with storage there, away, or just going: `ROUNDS=1000` asks for a thousand of them.

use std::{env, thread, time::Duration};

use super::{Book, Clients, Dice, Engine, Instant, Site};

/// How many there are where nobody says.
const ROUNDS: usize = 20;
/// How long a sidecar lives at most.
const LIFE: usize = 500;

#[test]
fn what_was_acknowledged_outlives_kill_9_at_any_moment_of_an_outage() {
    let rounds = env::var("ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let (mut dice, began) = (Dice::new(), Instant::now());
    let mut site = Site::new(Engine::Moto).keeping();
    let clients = site.begin();
    clients.wait_for(60);
    let mut books = clients.end();
    site.here.as_mut().unwrap().kill();
    for _ in 0..rounds {
        books = round(&mut site, &mut dice, books);
    }
    let lived = began.elapsed();
    site.proxy.gone.send(false).unwrap();
    site.start();
    let clients = Clients::begin(site.here(), books);
    clients.wait_for(60);
    let books = clients.end();
    site.check(&format!("kill -9, {rounds} rounds in {lived:?}"), &books);
}

/// A life: storage is there or not, then the other way round, then it ends.
fn round(site: &mut Site, dice: &mut Dice, books: Vec<Book>) -> Vec<Book> {
    // There is no event to wait for: the moments are the point.
    let mut live = || thread::sleep(Duration::from_millis(dice.below(LIFE / 2) as u64));
    site.start();
    let clients = Clients::begin(site.here(), books);
    live();
    site.proxy.gone.send_modify(|gone| *gone = !*gone);
    live();
    site.here.as_mut().unwrap().kill();
    clients.end()
}
