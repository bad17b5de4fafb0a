use super::*;

pub(super) fn limits() -> SchedulerLimits {
    SchedulerLimits {
        max_num_seqs: 4,
        max_num_batched_tokens: 100,
        chunked_prefill: true,
        usable_blocks: 100,
        block_size: 10,
        prefix_caching: true,
    }
}

/// A sequence of these tokens.
fn shape(prompt: &[u32], output: &[u32], salt: Option<ContentHash>) -> SequenceShape {
    let contents = block_contents(&[prompt, output].concat(), salt, limits().block_size);
    SequenceShape { prompt: prompt.len(), output: output.len(), contents }
}

/// A prompt that shares no block with a prompt of another `seed`.
fn prompt(seed: u32, len: u32) -> Vec<u32> {
    (0..len).map(|n| seed * 100_000 + n).collect()
}

fn output(len: u32) -> Vec<u32> {
    (0..len).map(|n| 7_000_000 + n).collect()
}

/// Runs to the end. Returns the number of tokens of each sequence, and the order in which the sequences finished.
fn drain(scheduler: &mut Scheduler) -> (std::collections::HashMap<SeqId, usize>, Vec<SeqId>) {
    let (mut counts, mut finished) = (std::collections::HashMap::new(), Vec::new());
    for _ in 0..100_000 {
        if scheduler.is_idle() {
            return (counts, finished);
        }
        scheduler.begin_step();
        for emission in scheduler.complete_step() {
            *counts.entry(emission.id).or_default() += 1;
            finished.extend(emission.last.then_some(emission.id));
        }
    }
    panic!("the scheduler never came to an end");
}

#[test]
fn a_sequence_is_prefilled_once_and_then_decodes_one_token_a_step() {
    let mut scheduler = Scheduler::new(limits());
    scheduler.add(1, shape(&prompt(1, 25), &output(3), None)).unwrap();
    let batch = scheduler.begin_step();
    assert_eq!((batch.work.prefill_tokens, batch.work.decode_seqs), (25, 0));
    assert_eq!(batch.admitted, [AdmittedSequence { id: 1, cached: 0, resumed: false }]);
    assert_eq!(scheduler.complete_step(), [GeneratedToken { id: 1, first: true, last: false }]);
    for last in [false, true] {
        let batch = scheduler.begin_step();
        assert_eq!((batch.work.prefill_tokens, batch.work.decode_seqs), (0, 1));
        assert_eq!(scheduler.complete_step(), [GeneratedToken { id: 1, first: false, last }]);
    }
    assert!(scheduler.is_idle());
    assert_eq!(scheduler.load(), SchedulerLoad::default());
}

#[test]
fn a_step_never_computes_more_tokens_than_the_budget() {
    let mut scheduler = Scheduler::new(limits());
    for id in 0..4 {
        scheduler.add(id, shape(&prompt(id as u32, 70), &output(5), None)).unwrap();
    }
    let sizes: Vec<_> = (0..3)
        .map(|_| {
            let work = scheduler.begin_step().work;
            scheduler.complete_step();
            work.prefill_tokens + work.decode_seqs
        })
        .collect();
    assert_eq!(sizes, [100, 100, 83], "280 prompt tokens; sequences 0 and 1 decode meanwhile");
}

#[test]
fn chunked_prefill_cuts_a_long_prompt_and_emits_only_after_its_last_chunk() {
    let mut scheduler = Scheduler::new(limits());
    scheduler.add(1, shape(&prompt(1, 250), &output(1), None)).unwrap();
    for (chunk, tokens) in [(100, 0), (100, 0), (50, 1)] {
        assert_eq!(scheduler.begin_step().work.prefill_tokens, chunk);
        assert_eq!(scheduler.complete_step().len(), tokens);
    }
    assert!(scheduler.is_idle());
}

#[test]
fn without_chunking_a_prompt_waits_until_it_fits_whole() {
    let mut scheduler = Scheduler::new(SchedulerLimits { chunked_prefill: false, ..limits() });
    scheduler.add(1, shape(&prompt(1, 60), &output(3), None)).unwrap();
    scheduler.add(2, shape(&prompt(2, 60), &output(3), None)).unwrap();
    assert_eq!(scheduler.begin_step().work.prefill_tokens, 60);
    scheduler.complete_step();
    let batch = scheduler.begin_step();
    assert_eq!((batch.work.prefill_tokens, batch.work.decode_seqs), (60, 1));
}

#[test]
fn sequences_are_admitted_in_the_order_of_their_arrival() {
    let mut scheduler = Scheduler::new(SchedulerLimits { max_num_seqs: 2, ..limits() });
    for id in [5, 3, 9, 1] {
        scheduler.add(id, shape(&prompt(id as u32, 10), &output(4), None)).unwrap();
    }
    scheduler.begin_step();
    assert_eq!((scheduler.load().running, scheduler.load().waiting), (2, 2));
    scheduler.complete_step();
    let (_, finished) = drain(&mut scheduler);
    assert_eq!(finished, [5, 3, 9, 1]);
}

#[test]
fn a_head_of_queue_that_does_not_fit_is_not_overtaken() {
    let mut scheduler = Scheduler::new(SchedulerLimits { chunked_prefill: false, ..limits() });
    scheduler.add(1, shape(&prompt(1, 50), &output(2), None)).unwrap();
    scheduler.add(2, shape(&prompt(2, 90), &output(2), None)).unwrap();
    scheduler.add(3, shape(&prompt(3, 5), &output(2), None)).unwrap();
    let admitted: Vec<_> = scheduler.begin_step().admitted.iter().map(|admission| admission.id).collect();
    assert_eq!(admitted, [1]);
}

#[test]
fn a_full_pool_preempts_the_most_recently_admitted_which_computes_its_tokens_again() {
    let tight = SchedulerLimits { usable_blocks: 6, prefix_caching: false, ..limits() };
    let mut scheduler = Scheduler::new(tight);
    scheduler.add(1, shape(&prompt(1, 20), &output(30), None)).unwrap();
    scheduler.add(2, shape(&prompt(2, 20), &output(30), None)).unwrap();
    let mut preempted = Vec::new();
    while preempted.is_empty() {
        preempted = scheduler.begin_step().preempted.clone();
        scheduler.complete_step();
    }
    assert_eq!(preempted, [2]);
    assert_eq!((scheduler.load().running, scheduler.load().waiting), (1, 1));
    let resumed = loop {
        let batch = scheduler.begin_step().clone();
        scheduler.complete_step();
        if !batch.admitted.is_empty() {
            break batch;
        }
    };
    assert_eq!(resumed.admitted, [AdmittedSequence { id: 2, cached: 0, resumed: true }]);
    assert_eq!(resumed.work.prefill_tokens, 31, "20 of the prompt and the 11 generated before");
    let (_, finished) = drain(&mut scheduler);
    assert_eq!(finished, [2]);
    assert_eq!(scheduler.pool.held_count(), 0);
}

#[test]
fn preempted_sequences_lose_and_repeat_no_token() {
    let mut scheduler = Scheduler::new(SchedulerLimits { usable_blocks: 9, ..limits() });
    for id in 0..20 {
        scheduler.add(id, shape(&prompt(id as u32, 15 + id as u32), &output(40), None)).unwrap();
    }
    let (counts, finished) = drain(&mut scheduler);
    assert!(counts.values().all(|count| *count == 40), "{counts:?}");
    assert_eq!(finished.len(), 20);
    assert_eq!(scheduler.pool.held_count(), 0);
}

#[test]
fn a_repeated_prompt_is_served_from_the_cache_but_for_its_last_block() {
    let mut scheduler = Scheduler::new(limits());
    scheduler.add(1, shape(&prompt(1, 40), &output(1), None)).unwrap();
    drain(&mut scheduler);
    scheduler.add(2, shape(&prompt(1, 40), &output(1), None)).unwrap();
    let batch = scheduler.begin_step();
    assert_eq!(batch.admitted[0].cached, 30, "the last token has to be computed, and with it its block");
    assert_eq!(batch.work.prefill_tokens, 10);
    scheduler.complete_step();
    scheduler.add(3, shape(&[prompt(1, 40), prompt(2, 5)].concat(), &output(1), None)).unwrap();
    assert_eq!(scheduler.begin_step().admitted[0].cached, 40);
}

#[test]
fn a_second_turn_finds_the_blocks_of_the_first_answer() {
    let mut scheduler = Scheduler::new(limits());
    scheduler.add(1, shape(&prompt(1, 15), &output(26), None)).unwrap();
    drain(&mut scheduler);
    // The last output token is never computed, so 40 of the 41 tokens are known.
    scheduler.add(2, shape(&[prompt(1, 15), output(26), prompt(2, 9)].concat(), &output(1), None)).unwrap();
    assert_eq!(scheduler.begin_step().admitted[0].cached, 40);
}

#[test]
fn nothing_is_cached_when_caching_is_off_or_the_cache_was_reset() {
    let mut scheduler = Scheduler::new(SchedulerLimits { prefix_caching: false, ..limits() });
    for id in 1..3 {
        scheduler.add(id, shape(&prompt(1, 40), &output(1), None)).unwrap();
        assert_eq!(scheduler.begin_step().admitted[0].cached, 0);
        scheduler.complete_step();
    }
    let mut scheduler = Scheduler::new(limits());
    scheduler.add(1, shape(&prompt(1, 40), &output(1), None)).unwrap();
    drain(&mut scheduler);
    scheduler.reset_prefix_cache();
    scheduler.add(2, shape(&prompt(1, 40), &output(1), None)).unwrap();
    assert_eq!(scheduler.begin_step().admitted[0].cached, 0);
}

#[test]
fn an_abort_gives_back_every_block_whatever_the_sequence_was_doing() {
    let mut scheduler = Scheduler::new(limits());
    for id in 1..=6 {
        scheduler.add(id, shape(&prompt(id as u32, 90), &output(10), None)).unwrap();
    }
    for _ in 0..3 {
        scheduler.begin_step();
        scheduler.complete_step();
    }
    assert!(scheduler.pool.held_count() > 0 && scheduler.load().waiting > 0);
    for id in 1..=6 {
        assert!(scheduler.abort(id));
        assert!(!scheduler.abort(id), "it is gone");
    }
    assert_eq!(scheduler.pool.held_count(), 0);
    assert!(scheduler.is_idle());
}

#[test]
fn usage_is_the_held_share_of_the_usable_blocks() {
    let mut scheduler = Scheduler::new(limits());
    scheduler.add(1, shape(&prompt(1, 95), &output(5), None)).unwrap();
    scheduler.begin_step();
    assert_eq!(scheduler.load(), SchedulerLoad { running: 1, waiting: 0, kv_usage: 0.1 });
}

#[test]
fn sequences_of_different_salts_share_no_blocks() {
    let mut scheduler = Scheduler::new(limits());
    let mut cached = Vec::new();
    for (id, salt) in [(1, None), (2, Some(7)), (3, Some(7)), (4, Some(8)), (5, None)] {
        scheduler.add(id, shape(&prompt(1, 40), &output(1), salt)).unwrap();
        cached.push(scheduler.begin_step().admitted[0].cached > 0);
        scheduler.complete_step();
    }
    assert_eq!(cached, [false, false, true, false, true]);
}
