use proptest::prelude::*;

use super::*;
use crate::predict::{
    noise::StepNoise,
    observer::StepSpan,
    replica::RequestOverhead,
    router::{LeastRequests, RoundRobin},
    step_time::{StepTimeCoefficients, StepTimeModel},
    workload::{SessionTurn, SessionWorkload},
};
use crate::sim::scheduler::{BlockContents, SchedulerLimits};
use crate::testing::step_loop::run_step_loop;

mod split;

const MS: u64 = 1_000_000;

fn limits() -> SchedulerLimits {
    SchedulerLimits {
        max_num_seqs: 4,
        max_num_batched_tokens: 64,
        chunked_prefill: true,
        usable_blocks: 30,
        block_size: 10,
        prefix_caching: false,
    }
}

fn step_time() -> StepTimeModel {
    StepTimeModel::new(&StepTimeCoefficients {
        decode: vec![(0, 4e-3), (1, 4.1e-3), (3, 4.7e-3)],
        kv_token: 1e-6,
        kv_token_beyond: Some((150, 3e-6)),
        mixed_base: 5e-3,
        mixed_seqs: vec![(0, 0.0), (1, 0.2e-3)],
        prefill_token: 50e-6,
        attention_pair: 1e-9,
        mixed_floor: 6e-3,
        ..StepTimeCoefficients::default()
    })
    .unwrap()
}

fn config(replicas: usize) -> FleetConfig {
    let server = ServerConfig::new(limits(), step_time());
    FleetConfig { replicas, server, split: None, max_concurrency: None, seed: 7 }
}

fn request(index: u64, due_us: u64, prompt: u32, output: u32) -> SimulatedRequest {
    let due = Ticks::from_nanoseconds(due_us * 1000);
    SimulatedRequest { index, due, prompt, output, session: None, contents: BlockContents::NONE }
}

fn contents(family: u64, blocks: u64) -> BlockContents {
    (0..blocks).map(|block| family * 1000 + block).collect()
}

/// The answers of a simulation in the order of the requests.
fn answers(
    config: &FleetConfig,
    workload: &mut dyn Workload,
    router: &mut dyn Router,
) -> (Vec<SimulatedAnswer>, FleetTotals) {
    let mut answers = Vec::new();
    let totals =
        simulate(config, workload, router, &mut |answer: &SimulatedAnswer| answers.push(answer.clone()));
    answers.sort_by_key(|answer| answer.index);
    (answers, totals.unwrap())
}

prop_compose! {
    fn any_requests(most: usize)(
        rows in prop::collection::vec(
            (prop_oneof![Just(0u64), 0u64..40_000], 1u32..150, 1u32..120, 0u64..4, 0u64..20),
            1..most,
        ),
    ) -> Vec<SimulatedRequest> {
        let mut due = 0u64;
        let request = |(index, (gap, prompt, output, family, known)): (usize, (u64, u32, u32, u64, u64))| {
            due += gap;
            let contents = contents(family, known.min(u64::from(prompt + output) / 10));
            SimulatedRequest { contents, session: Some(family as u32), ..request(index as u64, due, prompt, output) }
        };
        rows.into_iter().enumerate().map(request).collect()
    }
}

prop_compose! {
    fn any_config(replicas: std::ops::Range<usize>)(
        replicas in replicas,
        max_num_seqs in 1usize..6,
        max_num_batched_tokens in prop_oneof![8usize..20, 20usize..200],
        usable_blocks in 27usize..60,
        prefix_caching: bool,
    ) -> FleetConfig {
        let mut config = config(replicas);
        config.server.limits = SchedulerLimits {
            max_num_seqs, max_num_batched_tokens, usable_blocks, prefix_caching, ..limits()
        };
        config
    }
}

/// Reads the loads often, and takes them into account.
struct LeastUsage;

impl Router for LeastUsage {
    fn route(&mut self, _request: &SimulatedRequest, fleet: &FleetView<'_>) -> usize {
        let usage = |replica: &usize| (fleet.signals[*replica].kv_usage * 1e6) as u64;
        (0..fleet.signals.len()).min_by_key(usage).unwrap()
    }

    fn refresh_period(&self) -> Option<Ticks> {
        Some(Ticks::from_nanoseconds(7 * MS))
    }
}

/// Sums what steps are observed, and checks that each replica's steps are without overlap.
#[derive(Default, PartialEq, Debug)]
struct StepSums {
    answers: Vec<SimulatedAnswer>,
    steps: u64,
    decode_seqs: u64,
    kv_tokens: u64,
    prefill_tokens: usize,
    busy: Ticks,
    interruptions: Vec<Ticks>,
    /// By replica: the next ordinal, and the end of the last step.
    ends: Vec<(u64, Ticks)>,
}

impl SimulationObserver for StepSums {
    fn on_answer(&mut self, answer: &SimulatedAnswer) {
        self.answers.push(answer.clone());
    }

    fn on_steps(&mut self, span: &StepSpan<'_>) {
        let replica = span.replica as usize;
        self.ends.resize(self.ends.len().max(replica + 1), (0, Ticks::ZERO));
        let (ordinal, end) = &mut self.ends[replica];
        assert!(*ordinal == span.ordinal && *end <= span.start);
        let mut total = Ticks::ZERO;
        for step in 0..span.steps {
            let work = span.first.after_steady(step);
            self.decode_seqs += work.decode_seqs as u64;
            self.kv_tokens += work.kv_tokens;
            total += span.duration(step);
        }
        assert_eq!(total, span.total());
        (*ordinal, *end) = (span.ordinal + span.steps, span.start + total);
        self.prefill_tokens += span.first.prefill_tokens;
        self.steps += span.steps;
        self.busy += total;
    }

    fn on_interruption(&mut self, gap: Ticks) {
        self.interruptions.push(gap);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_schedule_is_that_of_the_step_loop(mut config in any_config(1..2), requests in any_requests(30)) {
        let looped = run_step_loop(config.server.limits, &config.server.step_time, &requests);
        let expected: Vec<_> = looped.into_iter().map(|looped| looped.answer).collect();
        for leaps in [true, false] {
            config.server.leaps = leaps;
            let (found, _) = answers(&config, &mut requests.clone().into_iter(), &mut RoundRobin::default());
            prop_assert_eq!(&found, &expected);
        }
    }

    #[test]
    fn leaps_change_nothing_that_is_observed(
        mut config in any_config(1..5),
        requests in any_requests(40),
        is_noisy: bool,
        max_concurrency in prop::option::of(1usize..8),
        overhead_us in 0u64..3000,
    ) {
        if is_noisy {
            config.server.noise = StepNoise::new(&[0.9, 1.0, 1.3], &[0.8, 1.1]).unwrap();
        }
        config.max_concurrency = max_concurrency;
        config.server.overhead.base = Ticks::from_nanoseconds(overhead_us * 1000);
        let routers: [fn() -> Box<dyn Router>; 3] = [
            || Box::new(RoundRobin::default()), || Box::new(LeastRequests::default()), || Box::new(LeastUsage),
        ];
        for router in routers {
            let mut observe = |leaps| {
                config.server.leaps = leaps;
                let mut sums = StepSums::default();
                let totals = simulate(&config, &mut requests.clone().into_iter(), &mut *router(), &mut sums).unwrap();
                sums.answers.sort_by_key(|answer| answer.index);
                (sums, totals)
            };
            let (leapt, single) = (observe(true), observe(false));
            prop_assert_eq!(leapt.0.answers.len(), requests.len());
            prop_assert_eq!(leapt.0.steps, leapt.1.replicas.iter().map(|replica| replica.steps).sum::<u64>());
            prop_assert_eq!(leapt, single);
        }
    }
}

#[test]
fn a_request_that_arrives_within_a_step_waits_for_its_end() {
    // Request 0 is prefilled from 0 to 6 ms (the floor), then decodes in steps of 4.1 ms and 1 µs for each of 11, 12 …
    // tokens. Request 1 arrives 1 µs after the end of the first of these.
    let requests = [request(0, 0, 10, 50), request(1, 10_112, 20, 1)];
    let (found, _) = answers(&config(1), &mut requests.into_iter(), &mut RoundRobin::default());
    let nanoseconds = |at: Ticks| at.as_duration().as_nanos() as u64;
    assert_eq!(nanoseconds(found[0].first_token), 6 * MS);
    assert_eq!(nanoseconds(found[1].scheduled), 6 * MS + 4_111_000 + 4_112_000);
    // One that arrives at the end of a step is in the next one.
    let requests = [request(0, 0, 10, 50), request(1, 10_111, 20, 1)];
    let (found, _) = answers(&config(1), &mut requests.into_iter(), &mut RoundRobin::default());
    assert_eq!(nanoseconds(found[1].scheduled), 6 * MS + 4_111_000);
}

#[test]
fn a_cap_on_concurrency_holds_requests_back_until_another_has_ended() {
    let capped = FleetConfig { max_concurrency: Some(2), ..config(1) };
    let requests = (0..6).map(|index| request(index, 0, 10, 5 + index as u32));
    let (found, totals) = answers(&capped, &mut requests.into_iter(), &mut RoundRobin::default());
    assert_eq!(totals.answers, 6);
    let mut ends: Vec<Ticks> = found.iter().map(|answer| answer.last_token).collect();
    ends.sort();
    let sent: Vec<Ticks> = found.iter().map(|answer| answer.sent).collect();
    assert_eq!(sent, [vec![Ticks::ZERO; 2], ends[..4].to_vec()].concat());
    assert!(found.iter().all(|answer| answer.due == Ticks::ZERO));
}

#[test]
fn the_next_turn_of_a_session_is_sent_when_the_user_has_read_the_answer() {
    let think = Ticks::from_nanoseconds(250 * MS);
    let turn = |blocks: u64| SessionTurn {
        think,
        prompt: blocks as u32 * 10 + 5,
        output: 15,
        contents: contents(1, blocks + 2),
    };
    let start = Ticks::from_nanoseconds(30 * MS);
    let sessions =
        vec![(start, vec![turn(1), turn(3), turn(5)]), (Ticks::ZERO, vec![]), (Ticks::ZERO, vec![turn(1)])];
    let mut one = config(1);
    one.server.limits.prefix_caching = true;
    let (found, _) = answers(&one, &mut SessionWorkload::new(sessions), &mut LeastRequests::default());
    assert_eq!(
        found.iter().map(|answer| answer.session).collect::<Vec<_>>(),
        [Some(0), Some(0), Some(0), Some(2)]
    );
    assert_eq!(found[0].sent, start + think);
    assert_eq!(found[1].sent, found[0].last_token + think);
    assert_eq!(found[2].sent, found[1].last_token + think);
    // The first turn has 15 prompt tokens, and 14 of its output are computed: two blocks are full.
    assert_eq!(found[1].cached, 20);
}

#[test]
fn the_servers_own_time_for_a_request_comes_before_its_queue() {
    let mut slow = config(1);
    slow.server.overhead = RequestOverhead {
        base: Ticks::from_nanoseconds(10 * MS),
        per_prompt_token: Ticks::from_nanoseconds(1000),
        ..RequestOverhead::default()
    };
    let requests = [request(0, 0, 60, 1), request(1, 5, 10, 1)];
    let (found, _) = answers(&slow, &mut requests.into_iter(), &mut RoundRobin::default());
    assert_eq!(found[0].queued, Ticks::from_nanoseconds(10_060_000));
    assert_eq!(found[1].queued, Ticks::from_nanoseconds(10_015_000), "its shorter prompt overtakes");
    assert_eq!(found[1].scheduled, found[1].queued);
}

#[test]
fn the_same_seed_gives_the_same_deviations_and_another_seed_others() {
    let run = |seed| {
        let mut noisy = FleetConfig { seed, ..config(2) };
        noisy.server.noise = StepNoise::new(&[0.9, 1.0, 1.3], &[0.8, 1.1]).unwrap();
        let requests = (0..40).map(|index| request(index, index * 9_000, 30, 20));
        answers(&noisy, &mut requests.into_iter(), &mut LeastRequests::default())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_request_that_can_never_run_is_refused_with_its_number() {
    let mut observer = |_: &SimulatedAnswer| ();
    let mut refused = |config: &FleetConfig, request| {
        simulate(config, &mut std::iter::once(request), &mut RoundRobin::default(), &mut observer)
            .unwrap_err()
    };
    let error = refused(&config(1), request(3, 0, 290, 12)).to_string();
    assert_eq!(
        error,
        "request 3 can never run on this server: a sequence of 301 tokens needs 31 KV blocks of 10, and there are 30"
    );
    let mut whole = config(1);
    whole.server.limits.chunked_prefill = false;
    let error = refused(&whole, request(3, 0, 60, 12)).to_string();
    assert!(error.contains("71 tokens does not fit a step of 64 tokens"), "{error}");
    assert_eq!(refused(&config(0), request(3, 0, 1, 1)), SimulationError::Empty);
}
