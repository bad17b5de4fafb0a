//! Fleets in which some servers compute prompts and others decode.

use super::*;
use crate::predict::router::{RouterPolicy, RouterSettings};
use crate::predict::split::{KvLink, KvSize};

/// Links on which a token takes this time.
fn link(token: Ticks) -> KvLink {
    let size = KvSize { per_token: token.as_seconds(), ..KvSize::default() };
    KvLink { size, bytes_per_second: 1.0 }
}

fn split(prefill: usize, decode: usize, link: KvLink) -> FleetConfig {
    let settings = RouterSettings { blocks: 30, refresh_period: Ticks::from_nanoseconds(7 * MS), seed: 3 };
    let split = FleetSplit { prefill, link, router: RouterPolicy::RoundRobin, settings };
    FleetConfig { split: Some(split), ..config(prefill + decode) }
}

fn nanoseconds(at: Ticks) -> u64 {
    at.as_duration().as_nanos() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn leaps_change_nothing_in_a_split_fleet_and_every_request_is_answered(
        base in any_config(1..2),
        requests in any_requests(40),
        (prefill, decode) in (0usize..4, 1usize..4),
        (token_us, overhead_us) in (0u64..300, 0u64..3000),
        policy in 0..RouterPolicy::ALL.len(),
        is_noisy: bool,
        max_concurrency in prop::option::of(1usize..8),
    ) {
        let mut config = split(prefill, decode, link(Ticks::from_nanoseconds(token_us * 1000)));
        config.server.limits = base.server.limits;
        config.max_concurrency = max_concurrency;
        config.server.overhead.base = Ticks::from_nanoseconds(overhead_us * 1000);
        if is_noisy {
            config.server.noise = StepNoise::new(&[0.9, 1.0, 1.3], &[0.8, 1.1]).unwrap();
        }
        let policy = RouterPolicy::ALL[policy];
        let settings = config.split.as_mut().map(|split| { split.router = policy; split.settings }).unwrap();
        let mut observe = |leaps| {
            config.server.leaps = leaps;
            let mut sums = StepSums::default();
            let mut router = policy.router(settings);
            // A simulation checks that no server keeps a block.
            let totals = simulate(&config, &mut requests.clone().into_iter(), &mut *router, &mut sums).unwrap();
            sums.answers.sort_by_key(|answer| answer.index);
            (sums, totals)
        };
        let (leapt, single) = (observe(true), observe(false));
        prop_assert_eq!(&leapt, &single);
        prop_assert_eq!(leapt.1.answers, requests.len() as u64);
        for (answer, request) in leapt.0.answers.iter().zip(&requests) {
            prop_assert_eq!((answer.index, answer.output), (request.index, request.output));
            prop_assert!(answer.replica as usize >= prefill, "a decode server answers");
            prop_assert!(answer.sent <= answer.queued && answer.queued <= answer.scheduled);
            prop_assert!(answer.scheduled < answer.first_token && answer.first_token <= answer.last_token);
        }
    }

    #[test]
    fn without_transfer_times_a_decode_server_is_one_that_only_decodes(
        rows in prop::collection::vec((1u64..40_000, 1u32..60, 1u32..120), 1..25),
        is_tight: bool,
    ) {
        let mut due = 0;
        let requests: Vec<SimulatedRequest> = rows.into_iter().zip(0..).map(|((gap, prompt, output), index)| {
            due += gap;
            request(index, due, prompt, output)
        }).collect();
        // Each request has a prefill server of its own.
        let mut config = split(requests.len(), 1, link(Ticks::ZERO));
        config.server.limits.usable_blocks = if is_tight { 20 } else { 1000 };
        let mut decoding = split(0, 1, link(Ticks::ZERO));
        decoding.server = config.server.clone();
        let mut observer = DecodeSteps { first: requests.len() as u32, ..DecodeSteps::default() };
        let totals =
            simulate(&config, &mut requests.clone().into_iter(), &mut RoundRobin::default(), &mut observer);
        totals.unwrap();
        observer.answers.sort_by_key(|answer| answer.index);
        if !is_tight {
            prop_assert_eq!(observer.prefill_tokens, 0, "no prefill interferes");
            let gaps: u64 = requests.iter().map(|request| u64::from(request.output) - 1).sum();
            prop_assert_eq!(observer.gaps, gaps, "the first tokens have no gap");
        }
        let mut computed: Vec<SimulatedRequest> = requests;
        for (request, end) in computed.iter_mut().zip(&observer.prefilled) {
            request.due = *end;
        }
        computed.sort_by_key(|request| request.due);
        let (alone, _) = answers(&decoding, &mut computed.into_iter(), &mut RoundRobin::default());
        for (found, expected) in observer.answers.iter().zip(&alone) {
            prop_assert_eq!(found.index, expected.index);
            prop_assert_eq!((found.first_token, found.last_token), (expected.first_token, expected.last_token));
        }
    }
}

/// The steps of the decode servers, and the end of each prefill server's last step.
#[derive(Default)]
struct DecodeSteps {
    /// The number of the first decode server.
    first: u32,
    prefilled: Vec<Ticks>,
    prefill_tokens: usize,
    /// Tokens that came after another one.
    gaps: u64,
    answers: Vec<SimulatedAnswer>,
}

impl SimulationObserver for DecodeSteps {
    fn on_answer(&mut self, answer: &SimulatedAnswer) {
        self.answers.push(answer.clone());
    }

    fn on_steps(&mut self, span: &StepSpan<'_>) {
        if span.replica < self.first {
            self.prefilled.resize(self.first as usize, Ticks::ZERO);
            self.prefilled[span.replica as usize] = span.start + span.total();
            return;
        }
        self.prefill_tokens += span.first.prefill_tokens;
        self.gaps += (span.first.decode_seqs - span.first_tokens) as u64 * span.steps;
    }
}

#[test]
fn a_request_is_prefilled_transferred_and_decoded_and_transfers_to_a_server_are_one_after_the_other() {
    // Two prefill servers take 6 ms each for 10 tokens, and a transfer 10 ms.
    let config = split(2, 1, link(Ticks::from_nanoseconds(MS)));
    let requests = [request(0, 0, 10, 3), request(1, 0, 10, 1)];
    let (found, totals) = answers(&config, &mut requests.into_iter(), &mut RoundRobin::default());
    // The decode server computes the prompt's last token, with a context of 10 tokens, when the prompt has come.
    let first = 16 * MS + 4_110_000;
    assert_eq!(nanoseconds(found[0].first_token), first);
    let last = first + 4_111_000 + 4_112_000;
    assert_eq!(nanoseconds(found[0].last_token), last);
    // The other prompt comes at 26 ms, within the last of these steps.
    assert!(26 * MS > first + 4_111_000 && 26 * MS < last);
    assert_eq!(nanoseconds(found[1].first_token), last + 4_110_000);
    assert_eq!((found[1].queued, found[1].scheduled, found[1].replica), (Ticks::ZERO, Ticks::ZERO, 2));
    let steps: Vec<u64> = totals.replicas.iter().map(|replica| replica.steps).collect();
    assert_eq!((steps, totals.answers), (vec![1, 1, 4], 2));
}

#[test]
fn while_the_decode_server_is_full_prompts_keep_their_blocks_on_the_prefill_server() {
    // Each prompt takes 20 of a server's 30 blocks.
    let config = split(1, 1, link(Ticks::ZERO));
    let requests = (0..4).map(|index| request(index, 0, 200, 50));
    let (found, _) = answers(&config, &mut requests.into_iter(), &mut RoundRobin::default());
    for (answer, after) in found[2..].iter().zip(&found) {
        assert_eq!(answer.scheduled, after.last_token, "its prefill waits for the blocks of the one before");
    }
    assert!(found[1].scheduled < found[0].first_token);
}

#[test]
fn each_server_takes_its_time_for_a_request_before_its_queue() {
    let mut config = split(1, 1, link(Ticks::ZERO));
    config.server.overhead.base = Ticks::from_nanoseconds(10 * MS);
    let (found, _) = answers(&config, &mut std::iter::once(request(0, 0, 10, 1)), &mut RoundRobin::default());
    assert_eq!(nanoseconds(found[0].first_token), 10 * MS + 6 * MS + 10 * MS + 4_110_000);
}

#[test]
fn a_fleet_without_decode_servers_and_a_prompt_that_no_server_has_blocks_for_are_refused() {
    let refused = |config: &FleetConfig, request| {
        let mut observer = |_: &SimulatedAnswer| ();
        let mut router = RoundRobin::default();
        simulate(config, &mut std::iter::once(request), &mut router, &mut observer).unwrap_err()
    };
    let link = link(Ticks::ZERO);
    assert_eq!(refused(&split(2, 0, link), request(0, 0, 1, 1)), SimulationError::Empty);
    let error = refused(&split(1, 1, link), request(7, 0, 290, 12)).to_string();
    assert!(error.contains("request 7 can never run"), "{error}");
}
