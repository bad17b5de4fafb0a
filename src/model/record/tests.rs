use super::*;

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

fn record() -> Record {
    Record {
        ordinal: 0,
        id: None,
        times: Timestamps::new(ms(100))
            .with_time(Milestone::Released, ms(120))
            .with_time(Milestone::Sent, ms(130))
            .with_time(Milestone::Headers, ms(135))
            .with_time(Milestone::FirstChunk, ms(140))
            .with_time(Milestone::FirstToken, ms(180))
            .with_time(Milestone::LastToken, ms(380))
            .with_time(Milestone::Done, ms(390)),
        prompt_tokens: TokenCount { count: 5, source: TokenSource::Usage },
        cached_tokens: None,
        hidden_tokens: 0,
        first_event_tokens: None,
        server_times: None,
        output_tokens: TokenCount { count: 11, source: TokenSource::Usage },
        events: Events { count: 11, ..Events::default() },
        outcome: Ok(FinishReason::Length),
        traits: None,
        facets: None,
        text: None,
    }
}

#[test]
fn definitions_of_lag_ttft_tpot_and_e2e() {
    let record = record();
    assert_eq!(record.lag(), Some(ms(30)));
    assert_eq!(record.own_lag(), Some(ms(10)));
    assert_eq!(record.ttft(), Some(ms(50)));
    assert_eq!(record.ttft_from_due(), Some(ms(80)));
    assert_eq!(record.e2e(), Some(ms(250)));
    assert_eq!(record.e2e_from_due(), Some(ms(280)));
    assert_eq!(record.tpot(), Some(ms(20)));
    assert_eq!(record.vllm_tpot(), record.tpot());
}

/// 50 tokens from 180 to 600 ms, in `events` events.
fn fifty_tokens(events: u32) -> Record {
    let mut record = record();
    record.times.set(Milestone::LastToken, ms(600));
    record.output_tokens.count = 50;
    record.events.count = events;
    record
}

fn first(count: u32, source: TokenSource) -> Option<TokenCount> {
    Some(TokenCount { count, source })
}

#[test]
fn an_answer_in_one_event_has_no_tpot() {
    let mut record = fifty_tokens(1);
    record.times.set(Milestone::LastToken, record.times.first_token());
    assert_eq!((record.tpot(), record.tokens_after_first_event()), (None, None));
    assert_eq!(record.vllm_tpot(), Some(ms(0)), "which vLLM's client reports");
}

#[test]
fn tpot_is_over_the_tokens_after_the_first_event() {
    for source in [TokenSource::Usage, TokenSource::Tokenizer] {
        let record = Record { first_event_tokens: first(8, source), ..fifty_tokens(7) };
        assert_eq!(record.tpot(), Some(ms(420) / 42));
        assert_eq!(record.tokens_after_first_event(), Some((42.0, source)));
        assert_eq!(record.vllm_tpot(), Some(ms(420) / 49));
    }
}

#[test]
fn without_a_count_the_first_event_has_its_share_of_the_tokens() {
    let record = fifty_tokens(7);
    assert_eq!(record.tokens_after_first_event(), Some((300.0 / 7.0, TokenSource::Estimate)));
    assert_eq!(record.tpot(), Some(ms(9800) / 1000));
    let events = TokenCount { count: 7, source: TokenSource::Events };
    let record = Record { output_tokens: events, ..record };
    assert_eq!(record.tokens_after_first_event(), Some((6.0, TokenSource::Events)));
}

#[test]
fn a_count_that_leaves_nothing_for_later_events_is_no_count() {
    for count in [0, 50, 60] {
        let record = Record { first_event_tokens: first(count, TokenSource::Usage), ..fifty_tokens(7) };
        assert_eq!(record.tpot(), fifty_tokens(7).tpot(), "{count}");
    }
}

#[test]
fn reasoning_that_was_not_streamed_is_not_timed() {
    let record = Record { hidden_tokens: 29, ..fifty_tokens(21) };
    assert_eq!((record.tpot(), record.tokens_per_event()), (Some(ms(420) / 20), Some(1.0)));
    let record = Record { first_event_tokens: first(7, TokenSource::Usage), ..record };
    assert_eq!(record.tpot(), Some(ms(420) / 14));
    assert!(!record.is_one_token() && Record { hidden_tokens: 49, ..record }.is_one_token());
}

#[test]
fn a_single_token_has_no_tpot() {
    let mut record = record();
    record.output_tokens.count = 1;
    assert_eq!(record.tpot(), None);
    record.output_tokens.count = 0;
    assert_eq!(record.tpot(), None);
}

#[test]
fn what_never_happened_is_absent_not_zero() {
    let mut record = record();
    record.times = Timestamps::new(ms(100));
    assert_eq!((record.ttft(), record.e2e(), record.lag(), record.tpot()), (None, None, None, None));
}

#[test]
fn events_are_counted_by_second() {
    let mut events = Events::default();
    for at in [10, 999, 1000, 2500, 2600, 2700] {
        events.note(ms(at));
    }
    assert_eq!(events.count, 6);
    assert_eq!(events.by_second[..], [(0, 2), (1, 1), (2, 3)]);
}
