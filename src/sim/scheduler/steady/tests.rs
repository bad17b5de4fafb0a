use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::tests::limits;
use super::super::{AdmittedSequence, BlockContents, ReservedSequence, SeqId, SequenceShape};
use super::*;

/// What a step did: its work, and each change.
#[derive(Debug, Default, PartialEq)]
struct StepRecord {
    work: StepWork,
    admitted: Vec<AdmittedSequence>,
    preempted: Vec<SeqId>,
    reserved: Vec<ReservedSequence>,
    continued: Vec<SeqId>,
    first: Vec<SeqId>,
    last: Vec<SeqId>,
}

/// A sequence that is added before a step, and leaves before another if the test lets it.
#[derive(Clone, Debug)]
struct Arrival {
    step: u64,
    shape: SequenceShape,
    part: SequencePart,
    /// The number of steps from the reservation of its blocks until its prompt has come, or from its end until another
    /// server has read it.
    transfer: u64,
    aborted_after: Option<u64>,
}

/// What happens before a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Add,
    Abort,
    Receive,
    Release,
}

/// The contents of the first `blocks` blocks of a family. Families share none.
fn contents(family: u64, blocks: usize) -> BlockContents {
    (0..blocks as u64).map(|block| family * 1000 + block).collect()
}

fn one_step(scheduler: &mut Scheduler) -> StepRecord {
    let batch = scheduler.begin_step().clone();
    let mut record = StepRecord {
        work: batch.work,
        admitted: batch.admitted,
        preempted: batch.preempted,
        reserved: batch.reserved,
        continued: batch.continued,
        ..StepRecord::default()
    };
    for token in scheduler.complete_step() {
        record.first.extend(token.first.then_some(token.id));
        record.last.extend(token.last.then_some(token.id));
    }
    record
}

/// Runs all arrivals to their end. Before each step, `leap` may shorten the number of steps that are leapt over.
fn run(
    limits: SchedulerLimits,
    arrivals: &[Arrival],
    mut leap: impl FnMut(u64) -> u64,
) -> (Vec<StepRecord>, Scheduler) {
    let (mut scheduler, mut log, mut step) = (Scheduler::new(limits), Vec::new(), 0);
    let mut events: BTreeSet<(u64, Event, SeqId)> = BTreeSet::new();
    for (id, arrival) in (0..).zip(arrivals) {
        events.insert((arrival.step, Event::Add, id));
        events.extend(arrival.aborted_after.map(|steps| (arrival.step + steps, Event::Abort, id)));
    }
    while !events.is_empty() || !scheduler.is_idle() {
        while let Some((_, event, id)) = events.first().copied().filter(|(at, ..)| *at <= step) {
            events.pop_first();
            let arrival = &arrivals[id as usize];
            match event {
                Event::Add => scheduler.add_part(id, arrival.shape.clone(), arrival.part).unwrap(),
                Event::Abort => drop(scheduler.abort(id)),
                Event::Receive => drop(scheduler.receive(id)),
                Event::Release => drop(scheduler.release(id)),
            }
        }
        let to_event = events.first().map_or(u64::MAX, |(at, ..)| at - step);
        let steady = scheduler.steady_steps();
        let steps = leap(steady.steps).min(steady.steps).min(to_event);
        if steps > 0 {
            scheduler.leap(steps);
            log.extend(
                (0..steps).map(|n| StepRecord { work: steady.first.after_steady(n), ..Default::default() }),
            );
            step += steps;
        } else {
            let record = one_step(&mut scheduler);
            step += 1;
            let after = |id: SeqId| step + arrivals[id as usize].transfer;
            events.extend(record.reserved.iter().map(|found| (after(found.id), Event::Receive, found.id)));
            let ended = record.last.iter().filter(|id| arrivals[**id as usize].part == SequencePart::Prefill);
            events.extend(ended.map(|id| (after(*id), Event::Release, *id)));
            log.push(record);
        }
        assert!(step < 100_000, "the scheduler never came to an end");
    }
    (log, scheduler)
}

prop_compose! {
    fn any_arrival()(
        step in 0u64..60,
        prompt in 1usize..70,
        output in 1usize..60,
        family in 0u64..4,
        known in 0usize..14,
        part in prop_oneof![
            Just(SequencePart::Whole), Just(SequencePart::Decode), Just(SequencePart::Prefill),
        ],
        transfer in 0u64..30,
        aborted_after in prop::option::weighted(0.1, 1u64..40),
    ) -> Arrival {
        // Some contents cover a part of the prompt, some the output too.
        let blocks = known.min((prompt + output) / limits().block_size);
        let output = if part == SequencePart::Prefill { 1 } else { output };
        let shape = SequenceShape { prompt, output, contents: contents(family, blocks) };
        Arrival { step, shape, part, transfer, aborted_after }
    }
}

prop_compose! {
    fn any_limits()(
        max_num_seqs in 1usize..6,
        max_num_batched_tokens in prop_oneof![2usize..10, 10usize..200],
        chunked_prefill: bool,
        usable_blocks in prop_oneof![13usize..20, 20usize..60],
        prefix_caching: bool,
    ) -> SchedulerLimits {
        let most = if chunked_prefill { 1 } else { 130 };
        let max_num_batched_tokens = max_num_batched_tokens.max(most);
        SchedulerLimits {
            max_num_seqs, max_num_batched_tokens, chunked_prefill, usable_blocks, prefix_caching, ..limits()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_leap_equals_single_steps(
        limits in any_limits(),
        arrivals in prop::collection::vec(any_arrival(), 1..14),
        cuts in prop::collection::vec(1u64..40, 1..8),
    ) {
        let (single, _) = run(limits, &arrivals, |_| 0);
        let mut cuts = cuts.iter().copied().cycle();
        let (leapt, scheduler) = run(limits, &arrivals, |_| cuts.next().unwrap_or(1));
        prop_assert_eq!(single.len(), leapt.len());
        for (step, (single, leapt)) in single.iter().zip(&leapt).enumerate() {
            prop_assert_eq!(single, leapt, "in step {}", step);
        }
        prop_assert_eq!(scheduler.load(), Scheduler::new(limits).load());
    }
}

/// A scheduler whose only sequence has just got its first token.
fn decoding(limits: SchedulerLimits, prompt: usize, output: usize) -> Scheduler {
    let mut scheduler = Scheduler::new(limits);
    scheduler.add(0, SequenceShape { prompt, output, contents: BlockContents::NONE }).unwrap();
    one_step(&mut scheduler);
    scheduler
}

#[test]
fn all_steps_but_the_last_of_a_single_sequence_are_steady() {
    let scheduler = decoding(limits(), 25, 100);
    let first = StepWork { decode_seqs: 1, kv_tokens: 26, ..StepWork::default() };
    assert_eq!(scheduler.steady_steps(), SteadySteps { steps: 98, first });
}

#[test]
fn steps_are_steady_only_until_the_blocks_run_out() {
    let mut scheduler = decoding(SchedulerLimits { usable_blocks: 10, ..limits() }, 35, 60);
    scheduler.add(1, SequenceShape { prompt: 35, output: 60, contents: BlockContents::NONE }).unwrap();
    one_step(&mut scheduler);
    // The 10 blocks are full with 50 tokens of each sequence. 36 and 35 are computed.
    assert_eq!(scheduler.steady_steps().steps, 14);
}

#[test]
fn steps_are_steady_while_the_queue_has_to_wait_and_not_if_its_head_can_run() {
    let waiting = SequenceShape { prompt: 30, output: 5, contents: BlockContents::NONE };
    let steady = |limits, shape: &SequenceShape| {
        let mut scheduler = decoding(limits, 25, 50);
        scheduler.add(1, shape.clone()).unwrap();
        scheduler.steady_steps().steps
    };
    assert_eq!(steady(limits(), &waiting), 0, "it can be admitted");
    assert_eq!(steady(SchedulerLimits { max_num_seqs: 1, ..limits() }, &waiting), 48);
    // One block is free at most, and the head needs three.
    assert_eq!(
        steady(
            SchedulerLimits { usable_blocks: 8, ..limits() },
            &SequenceShape { prompt: 61, ..waiting.clone() }
        ),
        48
    );
    let known = SequenceShape { prompt: 61, contents: contents(1, 3), ..waiting };
    assert_eq!(steady(SchedulerLimits { usable_blocks: 8, ..limits() }, &known), 0, "its needs may change");
}
