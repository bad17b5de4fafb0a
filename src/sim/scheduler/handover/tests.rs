use super::super::tests::limits;
use super::super::{BlockContents, SchedulerLimits, SchedulerLoad, StepBatch, StepWork};
use super::*;

fn shape(prompt: usize, output: usize) -> SequenceShape {
    SequenceShape { prompt, output, contents: BlockContents::NONE }
}

fn add(scheduler: &mut Scheduler, id: SeqId, shape: SequenceShape) {
    scheduler.add_part(id, shape, SequencePart::Decode).unwrap();
}

fn step(scheduler: &mut Scheduler) -> StepBatch {
    let batch = scheduler.begin_step().clone();
    scheduler.complete_step();
    batch
}

#[test]
fn a_prompt_of_another_server_takes_its_blocks_at_once_and_is_not_computed() {
    let mut scheduler = Scheduler::new(limits());
    add(&mut scheduler, 1, shape(25, 3));
    let batch = step(&mut scheduler);
    assert_eq!(batch.reserved, [ReservedSequence { id: 1, cached: 0 }]);
    assert!(batch.is_empty() && scheduler.is_idle(), "there is nothing to compute until it comes");
    assert_eq!(scheduler.load(), SchedulerLoad { running: 0, waiting: 1, kv_usage: 0.03 });
    assert!(scheduler.receive(1));
    let batch = step(&mut scheduler);
    let work = StepWork { decode_seqs: 1, kv_tokens: 25, ..StepWork::default() };
    assert_eq!(
        (batch.continued, batch.work),
        (vec![1], work),
        "the last prompt token yields the first output"
    );
    assert!(scheduler.generated()[0].first);
    let steady = scheduler.steady_steps();
    assert_eq!((steady.steps, steady.first.kv_tokens), (1, 26));
    step(&mut scheduler);
    step(&mut scheduler);
    assert!(scheduler.generated()[0].last && scheduler.is_idle());
    assert_eq!(scheduler.load(), SchedulerLoad::default());
}

#[test]
fn the_blocks_of_a_computed_prompt_stay_in_use_until_they_were_read() {
    let mut scheduler = Scheduler::new(SchedulerLimits { usable_blocks: 4, ..limits() });
    for id in 1..=2 {
        scheduler.add_part(id, shape(25, 1), SequencePart::Prefill).unwrap();
    }
    step(&mut scheduler);
    assert!(scheduler.generated()[0].last);
    assert_eq!((scheduler.load().running, scheduler.load().waiting, scheduler.load().kv_usage), (0, 1, 0.75));
    assert!(step(&mut scheduler).is_empty(), "the second prompt has no blocks");
    assert!(scheduler.release(1), "a sequence waits for them");
    assert_eq!(step(&mut scheduler).work.prefill_tokens, 25);
    assert!(!scheduler.release(2));
    assert_eq!(scheduler.load(), SchedulerLoad::default());
}

#[test]
fn prompts_on_their_way_take_no_place_in_a_step_and_run_in_the_order_of_their_blocks() {
    let mut scheduler = Scheduler::new(SchedulerLimits { max_num_seqs: 2, ..limits() });
    (1..=4).for_each(|id| add(&mut scheduler, id, shape(20, 5)));
    assert_eq!(step(&mut scheduler).reserved.len(), 4);
    for id in [4, 3, 1] {
        scheduler.receive(id);
    }
    assert_eq!(step(&mut scheduler).continued, [1, 3], "the third has no place in a step of two");
    assert!(!scheduler.receive(2));
    assert_eq!(scheduler.steady_steps().steps, 3, "what has come waits for the end of another");
}

#[test]
fn a_preempted_sequence_computes_its_prompt_itself() {
    // Each of the two has four blocks at the end, and there are six.
    let mut scheduler = Scheduler::new(SchedulerLimits { usable_blocks: 6, ..limits() });
    (1..=2).for_each(|id| add(&mut scheduler, id, shape(25, 15)));
    step(&mut scheduler);
    (1..=2).for_each(|id| assert!(scheduler.receive(id)));
    let preempted = (0..10).find_map(|_| step(&mut scheduler).preempted.first().copied());
    assert_eq!(preempted, Some(2));
    let again = (0..20).map(|_| step(&mut scheduler)).find(|batch| !batch.admitted.is_empty()).unwrap();
    assert!(again.admitted[0].resumed && again.reserved.is_empty());
    assert_eq!(again.work.prefill_tokens, 31, "its prompt, and six of its own tokens");
}

#[test]
fn a_known_prefix_is_not_read_again_and_a_prompt_that_came_is_known() {
    let mut scheduler = Scheduler::new(limits());
    let known = |prompt: usize| SequenceShape { contents: (0..4).collect(), ..shape(prompt, 2) };
    for (id, prompt, cached) in [(1, 40, 0), (2, 45, 40), (3, 40, 30)] {
        add(&mut scheduler, id, known(prompt));
        assert_eq!(step(&mut scheduler).reserved, [ReservedSequence { id, cached }]);
        scheduler.receive(id);
        step(&mut scheduler);
        step(&mut scheduler);
        assert!(scheduler.is_idle());
    }
    assert_eq!(scheduler.pool.held_count(), 0);
}

#[test]
fn an_abort_gives_back_the_blocks_of_a_prompt_on_its_way() {
    let mut scheduler = Scheduler::new(limits());
    (1..=2).for_each(|id| add(&mut scheduler, id, shape(20, 5)));
    step(&mut scheduler);
    scheduler.receive(2);
    assert!(scheduler.abort(1) && scheduler.abort(2) && !scheduler.abort(1));
    assert!(scheduler.is_idle());
    assert_eq!(scheduler.load(), SchedulerLoad::default());
}

#[test]
fn prompts_on_their_way_may_take_the_last_blocks_of_a_running_sequence() {
    let mut scheduler = Scheduler::new(SchedulerLimits { usable_blocks: 5, ..limits() });
    add(&mut scheduler, 1, shape(20, 12));
    step(&mut scheduler);
    scheduler.receive(1);
    add(&mut scheduler, 2, shape(30, 2));
    let batch = step(&mut scheduler);
    assert_eq!((batch.reserved.len(), batch.continued.len()), (1, 1));
    let batch = step(&mut scheduler);
    assert!(batch.preempted == [1] && batch.is_empty(), "no step can go on: {batch:?}");
    assert!(step(&mut scheduler).is_empty(), "and it waits for blocks");
    scheduler.receive(2);
    assert_eq!(step(&mut scheduler).continued, [2]);
    step(&mut scheduler);
    assert!(step(&mut scheduler).admitted[0].resumed);
}
