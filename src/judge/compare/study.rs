//! How honest the calls are: on pairs of made-up servers whose truth is known, how often equal ones are called different, how
//! often slower ones are found, and whether what is not found is called the same.
//!
//! The servers are queues (Poisson arrivals, 32 at a time) at 20 requests a second, busy two thirds of the time. A token takes
//! 20 ms, by a tenth more or less from one request to the next, a twentieth from one second to the next, and a tenth from
//! one token to the next. Every run draws all of it anew. `cargo test --release -- --ignored --nocapture study` prints the
//! tables. What they last said:
//!
//! | equal servers, 200 pairs | 400 requests | 1,200 requests |
//! |---|---|---|
//! | tables with a better or worse row | 2.5 % | 0 % |
//! | the same, saved without requests | 3.0 % | 0.5 % |
//!
//! | called worse (the same), 100 pairs, mean TPOT | 150 requests | 400 | 1,200 |
//! |---|---|---|---|
//! | 2 % slower | 1 % (9 %) | 8 % (15 %) | 1 % (52 %) |
//! | 5 % slower | 16 % (4 %) | 25 % (2 %) | 31 % (1 %) |
//! | 10 % slower | 50 % (0 %) | 77 % (0 %) | 100 % (0 %) |
//! | 20 % slower | 97 % (0 %) | 100 % (0 %) | 100 % (0 %) |
//!
//! Dependence that reaches through a good part of a run is more than its requests can tell of: with a weather of 50 requests
//! instead of 20, the first row was 8.5 % before the tails were as heavy as they are now.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution as _, StandardNormal};
use rayon::prelude::*;

use super::{Call, Comparison, Row, Settings, Side};
use crate::core::record::{Events, Record};
use crate::core::run::{Run, sample};
use crate::core::simulated::Queue;
use crate::core::spec::Slo;

const RATE: f64 = 20.0;
const GAP: Duration = Duration::from_millis(20);

/// A server: what it takes for first and for further tokens, relative to the standard.
#[derive(Debug, Clone, Copy)]
struct Server {
    prefill: f64,
    gap: f64,
}

const STANDARD: Server = Server { prefill: 1.0, gap: 1.0 };

impl Server {
    fn run(self, n: usize, seed: u64) -> Run {
        let queue = Queue {
            servers: 32,
            service: Duration::from_secs(1).mul_f64(self.gap),
            prefill: Duration::from_millis(50).mul_f64(self.prefill),
            seed,
        };
        let mut records = queue.open(n, RATE);
        let mut noise = StandardNormal.sample_iter(StdRng::seed_from_u64(seed ^ 0xD1CE));
        let mut weather = 0.0;
        for record in &mut records {
            weather = 0.95 * weather + 0.05 * (1.0_f64 - 0.95 * 0.95).sqrt() * next(&mut noise);
            let gap = GAP.mul_f64(self.gap * (weather + 0.1 * next(&mut noise)).exp());
            self.stretch(record, gap, &mut noise);
        }
        let mut spec = sample::spec();
        spec.slo = Slo { ttft: Some(Duration::from_millis(200)), ..Slo::default() };
        sample::of_records(spec, records, vec![50.0, 90.0, 95.0, 99.0], true)
    }

    /// Gives a request the tokens that its time is worth, each after a gap of its own.
    fn stretch(self, record: &mut Record, gap: Duration, noise: &mut impl Iterator<Item = f64>) {
        let Some((first, last)) = record.times.first_token.zip(record.times.last_token) else { return };
        let gaps =
            ((last - first).as_secs_f64() / GAP.mul_f64(self.gap).as_secs_f64()).ceil().max(1.0) as u32;
        let gaps: Vec<Duration> =
            (0..gaps).map(|_| gap.mul_f64((1.0 + 0.1 * next(noise)).max(0.1))).collect();
        let mut events = Events::default();
        let mut at = first;
        events.note(at);
        for gap in &gaps {
            at += *gap;
            events.note(at);
        }
        record.output_tokens.count = events.count;
        record.events = Events { gaps: Some(gaps), ..events };
        record.times.last_token = Some(at);
        record.times.done = Some(at);
    }
}

fn next(noise: &mut impl Iterator<Item = f64>) -> f64 {
    noise.next().expect("noise does not end")
}

/// How often each call was made of each figure, and how many tables had one that is better or worse.
#[derive(Default)]
struct Tally {
    pairs: usize,
    cries: usize,
    calls: BTreeMap<String, [usize; 4]>,
}

impl Tally {
    /// Of many pairs of a standard server and another; nothing is drawn twice.
    fn of(other: Server, n: usize, pairs: u64, slice: fn(Run) -> Run) -> Self {
        let compare = |pair: u64| {
            let side = |server: Server, draw: u64| {
                let seed = (2 * pair + draw) * 7919 + n as u64;
                Side { name: String::new(), runs: vec![slice(server.run(n, seed))] }
            };
            Comparison::of_known(
                &side(STANDARD, 0),
                &[side(other, 1)],
                &crate::judge::compare::figures(),
                Settings::default(),
            )
        };
        let tables: Vec<Comparison> = (0..pairs).into_par_iter().map(compare).collect();
        let mut tally = Self { pairs: tables.len(), ..Self::default() };
        for table in &tables {
            tally.cries += usize::from(table.rows().any(|row| place(row) < 2));
            for row in table.rows() {
                tally.calls.entry(row.figure.to_string()).or_default()[place(row)] += 1;
            }
        }
        tally
    }

    /// Worse, better, the same, cannot tell, as shares of the pairs.
    fn shares(&self, figure: &str) -> [f64; 4] {
        self.calls[figure].map(|count| count as f64 / self.pairs as f64)
    }

    fn family_wise(&self) -> f64 {
        self.cries as f64 / self.pairs as f64
    }
}

fn place(row: &Row) -> usize {
    match row.call {
        Call::Worse => 0,
        Call::Better => 1,
        Call::Same => 2,
        Call::CannotTell { .. } => 3,
    }
}

fn whole(run: Run) -> Run {
    run
}

fn without_records(run: Run) -> Run {
    Run { records: None, ..run }
}

/// The most that a share of 5 % shows of so many pairs by chance, at 99 %.
fn at_most_5_percent(pairs: usize) -> f64 {
    0.05 + 2.33 * (0.05 * 0.95 / pairs as f64).sqrt()
}

#[test]
fn equal_servers_are_hardly_ever_called_different_and_slow_ones_not_the_same() {
    let equal = Tally::of(STANDARD, 400, 12, whole);
    assert!(equal.cries <= 2, "{} of 12", equal.cries);
    let slow = Tally::of(Server { gap: 1.1, ..STANDARD }, 1200, 6, whole);
    let [worse, _, same, _] = slow.shares("tpot.mean");
    assert!(worse > 0.9 && same == 0.0, "{worse} {same}");
}

#[test]
#[ignore = "minutes of made-up runs"]
fn at_most_5_percent_of_the_tables_of_equal_servers_cry_wolf() {
    let mut out = std::io::stdout();
    let mut cries = Vec::new();
    writeln!(out, "requests  records  tables with a better or worse row").unwrap();
    for n in [400, 1200] {
        for (name, slice) in [("yes", whole as fn(Run) -> Run), ("no", without_records)] {
            let tally = Tally::of(STANDARD, n, 200, slice);
            writeln!(out, "{n:>8}  {name:>7}  {:.3} of {}", tally.family_wise(), tally.pairs).unwrap();
            for (figure, [worse, better, ..]) in
                tally.calls.iter().filter(|(_, calls)| calls[0] + calls[1] > 0)
            {
                writeln!(out, "{:>20} {figure}: {worse} worse, {better} better", "").unwrap();
            }
            cries.push(tally.family_wise());
        }
    }
    assert!(cries.iter().all(|&share| share <= at_most_5_percent(200)), "{cries:?}");
}

#[test]
#[ignore = "minutes of made-up runs"]
fn slower_servers_are_found_and_where_not_they_are_not_called_the_same() {
    const FIGURES: [&str; 6] = ["tpot.mean", "tpot.p99", "itl.p50", "e2el.mean", "ttft.mean", "ttft.p95"];
    let mut out = std::io::stdout();
    writeln!(out, "share of pairs called worse (the same)\nslower requests  {}", FIGURES.join("  ")).unwrap();
    for slower in [1.02, 1.05, 1.10, 1.20] {
        for n in [150, 400, 1200] {
            let tally = Tally::of(Server { prefill: slower, gap: slower }, n, 100, whole);
            let cell = |figure: &str| {
                let [worse, _, same, _] = tally.shares(figure);
                format!("{worse:.2} ({same:.2})")
            };
            let cells = FIGURES.map(|figure| format!("{:>w$}", cell(figure), w = figure.len().max(11)));
            writeln!(out, "{:>5.0} % {n:>8}  {}", 100.0 * (slower - 1.0), cells.join("  ")).unwrap();
            let shares = |figure: &str| tally.shares(figure);
            if slower > 1.05 {
                let same = FIGURES.map(|figure| shares(figure)[2]);
                assert!(
                    same.iter().all(|&same| same <= at_most_5_percent(tally.pairs)),
                    "{slower} {n}: {same:?}"
                );
            }
            if slower >= 1.10 && n >= 1200 {
                assert!(shares("tpot.mean")[0] >= 0.95, "{slower} {n}: {:?}", shares("tpot.mean"));
            }
        }
    }
}
