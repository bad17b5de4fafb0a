//! Tests the limits between rules, and the reported status of levers.

use super::*;
use crate::model::metrics::waterfall::Waterfall;
use crate::model::record::{Milestone, OutputGaps, ServerTimes};

#[test]
fn a_queue_before_quick_first_tokens_is_a_hint_and_one_of_the_loads_own_making_no_alert() {
    let hint = Kit::run(|run| waiting(run, 40.0)).finding("queue");
    assert_eq!(hint.level, Severity::Hint);
    let own = Kit::run(|run| {
        waiting(run, 40.0);
        measured(run, Latency::Ttft, vec![ms(2_000); 100]);
        (run.spec.load.request_rate, run.spec.load.max_concurrency) = (Rate::INFINITE, None);
    });
    assert_eq!(own.finding("queue").level, Severity::Warn);
}

/// A server without a metrics page. Its answers have a TTFT of 100 ms and report these queue and prefill times in
/// milliseconds.
fn with_times_in_answers(queue: u64, prefill: u64, change: impl FnOnce(&mut Run)) -> Kit {
    let server_times = ServerTimes::new(Some(ms(queue)), Some(ms(prefill)), None).boxed();
    let answer = Record { server_times, ..sample_run::records().remove(0) };
    let mut kit = Kit::run(|run| {
        run.server = None;
        run.metrics.waterfall = Waterfall::from_records(std::iter::repeat_n(&answer, 20));
        change(run);
    });
    kit.log = None;
    kit
}

#[test]
fn the_servers_times_in_its_answers_show_its_queue_and_its_prefill() {
    let slow = |run: &mut Run| measured(run, Latency::Ttft, vec![ms(2_000); 100]);
    let queued = with_times_in_answers(80, 10, slow).finding("queue");
    let share = queued.facts[0].figure.unwrap().to_string();
    assert_eq!((queued.level, share.as_str()), (Severity::Alert, "78.4 %"));
    let quick = with_times_in_answers(80, 10, |run| measured(run, Latency::Ttft, vec![ms(100); 100]));
    assert_eq!(quick.finding("queue").level, Severity::Hint);
    let computed = with_times_in_answers(10, 80, slow);
    assert_eq!(computed.finding("prefill").level, Severity::Warn);
    assert!(computed.diagnosis().fine.contains(&"queue"));
    let between = with_times_in_answers(10, 10, slow).finding("between");
    assert_eq!(between.facts[0].figure, Some(Quantity::Time(ms(1_980))));
}

#[test]
fn arrivals_that_pile_up_are_found_even_where_the_server_tells_nothing() {
    let mut kit = Kit::run(|run| {
        run.server = None;
        run.validity.checks[1] = check(CheckName::Stationarity, CheckOutcome::Invalid);
        measured(run, Latency::Ttft, vec![ms(2_000); 100]);
    });
    kit.log = None;
    assert_eq!(kit.finding("pile-up").level, Severity::Alert);
}

/// Forty requests through a gateway (LiteLLM, `real-trial.md` F3): too few for the verdict, although TTFT was 19 s.
#[test]
fn first_tokens_that_come_later_and_later_are_a_pile_up_without_a_verdict() {
    let kit = |ttft: [u64; 9]| {
        let mut kit = Kit::run(|run| {
            run.server = None;
            run.validity.checks[1] = check(CheckName::Stationarity, CheckOutcome::NotJudged);
            run.series.ttft = BucketQuantiles::from_values(ttft.map(|value| vec![ms(value)]).to_vec());
        });
        kit.log = None;
        kit
    };
    let rising = kit([100, 900, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000]).finding("pile-up");
    assert_eq!((rising.level, rising.facts[0].figure), (Severity::Warn, Some(Quantity::Time(ms(7_000)))));
    for calm in [[100; 9], [100, 120, 90, 100, 300, 110, 350, 300, 310]] {
        assert!(kit(calm).diagnosis().fine.contains(&"pile-up"), "{calm:?}");
    }
}

#[test]
fn drafts_pay_or_do_not_by_what_was_accepted() {
    let level = |counts| {
        let diagnosis = Kit::server(|replica| drafting(replica, counts)).diagnosis();
        diagnosis.findings.iter().find(|finding| finding.rule == "speculation").map(|finding| finding.level)
    };
    // Drafts, tokens drafted, tokens accepted. The second case is from a trial of vLLM 0.32 (16.7 %).
    assert_eq!(level([100.0, 300.0, 210.0]), None);
    assert_eq!(level([23.0, 48.0, 8.0]), Some(Severity::Hint));
    assert_eq!(level([100.0, 300.0, 20.0]), Some(Severity::Warn));
    assert_eq!(level([0.0, 0.0, 0.0]), None);
}

#[test]
fn adapters_that_fit_do_not_wait_for_each_other() {
    let kit = |max_lora: &str| {
        Kit::server(|replica| {
            adapters_that_wait(replica);
            let series = replica.facts.get_mut(&ServerSignal::Lora).unwrap();
            series.iter_mut().for_each(|labels| _ = labels.insert("max_lora".into(), max_lora.into()));
        })
    };
    assert!(kit("2").diagnosis().fine.contains(&"adapters"));
    assert_eq!(kit("1").finding("adapters").level, Severity::Warn);
}

#[test]
fn a_queue_in_a_single_line_of_the_log_is_a_hint() {
    let one = lines(20, 535, 60, "").lines().next().unwrap().to_owned();
    let finding = Kit { run: None, ..Kit::log(one) }.finding("queue");
    assert_eq!((finding.level, finding.facts[0].figure), (Severity::Hint, Some(Quantity::Count(535))));
    assert!(finding.facts[0].when.is_some());
}

#[test]
fn spikes_between_first_tokens_are_not_the_prompts() {
    let diagnosis = Kit::run(|run| stalling(run, false)).diagnosis();
    assert!(diagnosis.findings.is_empty() && diagnosis.fine.contains(&"itl-spikes"), "{diagnosis:?}");
}

#[test]
fn spikes_of_which_nobody_knows_the_cause_are_not_judged() {
    let diagnosis = Kit::run(|run| {
        stalling(run, true);
        run.series.ttft = BucketQuantiles::from_values(vec![vec![ms(100)]; 12]);
    });
    let unjudged = diagnosis.diagnosis().not_judged;
    assert_eq!(unjudged.iter().map(|rule| rule.rule).collect::<Vec<_>>(), ["itl-spikes"]);
    assert!(unjudged[0].needs.contains("`options.detail`"));
}

/// A stream of 300 gaps of 20 ms, in which every tenth gap is 300 ms long, and requests whose first token arrives
/// either at the ends of the long gaps or in the middle of them.
fn detailed(with_the_ends: bool) -> Vec<Record> {
    let mut stream = sample_run::records()[0].clone();
    let gaps: Vec<_> = (0..300).map(|at| if at % 10 == 9 { ms(300) } else { ms(20) }).collect();
    let (mut at, mut others) = (stream.times.first_token().unwrap(), Vec::new());
    for (number, gap) in gaps.iter().enumerate() {
        at += *gap;
        if *gap == ms(300) {
            let mut other = sample_run::records()[0].clone();
            other.ordinal = number + 1;
            other.times.set(Milestone::FirstToken, if with_the_ends { at + ms(1) } else { at - ms(150) });
            other.events.gaps = Some(OutputGaps::default());
            others.push(other);
        }
    }
    stream.events.gaps = Some(gaps.into_iter().collect());
    others.push(stream);
    others
}

#[test]
fn with_every_request_saved_a_long_gap_is_put_down_to_the_prompt_it_ends_with() {
    for with_the_ends in [true, false] {
        let kit = Kit::run(|run| {
            let records = detailed(with_the_ends);
            let gaps = records.iter().flat_map(|record| record.events.gaps.iter().flatten()).collect();
            measured(run, Latency::Itl, gaps);
            run.records = Some(records);
        });
        let found: Vec<_> = kit.diagnosis().findings.iter().map(|finding| finding.rule).collect();
        assert_eq!(found, if with_the_ends { vec!["itl-spikes"] } else { vec![] });
    }
}

#[test]
fn turns_that_repeat_nothing_need_no_prefix_cache() {
    let kit = Kit::run(|run| {
        run.server.as_mut().unwrap().replicas[0].counters.insert(ServerSignal::PrefixHits, flat(0.0));
        run.spec.sessions.history = HistoryMode::None;
    });
    assert!(kit.diagnosis().fine.contains(&"prefix-cache"));
}

#[test]
fn cached_tokens_in_the_answers_say_more_than_the_servers_counters() {
    let row = |name: &str, cached| GroupMetrics {
        name: name.into(),
        requests: 10,
        completed: 10,
        failed: 0,
        abandoned: 0,
        input_tokens: 1_000,
        output_tokens: 100,
        output_share: None,
        cached_share: Some(cached),
        ttft: None,
        tpot: None,
        vllm_tpot: None,
        e2e: None,
    };
    let kit = Kit::run(|run| {
        run.metrics.rows =
            BTreeMap::from([(GroupBy::Turn, vec![row("1", 0.0), row("2", 0.1), row("3", 0.2)])]);
    });
    let Some(Quantity::Share(share)) = kit.finding("prefix-cache").facts[0].figure else { panic!() };
    assert!((share - 0.1).abs() < 1e-9, "{share}");
}

#[test]
fn out_of_memory_is_heard_from_a_failed_request_too() {
    let kit = failing(FailureClass::ErrorEvent, "CUDA out of memory. Tried to allocate 2.00 GiB");
    assert_eq!(kit.finding("oom").facts[0].origin, EvidenceSource::Result);
}

#[test]
fn failures_of_the_clients_own_limits_are_not_the_servers() {
    for class in [FailureClass::Descriptors, FailureClass::Ports, FailureClass::Cancelled] {
        assert!(failing(class, "").diagnosis().fine.contains(&"failures"), "{class}");
    }
    for class in FailureClass::NAMED_CLASSES {
        failing(class, "").diagnosis();
    }
}

#[test]
fn a_default_that_old_versions_log_is_no_setting() {
    assert!(Kit::started_with("'swap_space': 4").diagnosis().fine.contains(&"swap-space"));
    assert!(Kit::started_with("'scheduler_delay_factor': 0.0").diagnosis().fine.contains(&"delay-factor"));
}

#[test]
fn the_engine_is_told_by_what_only_one_of_them_says_and_by_the_version() {
    let engine = |version: &str, change: fn(&mut ReplicaMetrics)| {
        let mut run = Kit::server(change).run.unwrap();
        run.environment.server_version = Some(version.into());
        let diagnosis = Kit { run: Some(run), log: None, live: None }.diagnosis();
        diagnosis.findings.first().map(|finding| (finding.rule, finding.level))
    };
    let v0: fn(&mut ReplicaMetrics) = |replica| {
        replica.gauges.insert(ServerSignal::Swapped, flat(0.0));
        replica.counters.clear();
    };
    let both: fn(&mut ReplicaMetrics) = |replica| _ = replica.gauges.insert(ServerSignal::Swapped, flat(0.0));
    assert_eq!(engine("0.6.6", v0), Some(("v0-engine", Severity::Hint)));
    assert_eq!(engine("0.9.0", v0), Some(("v0-engine", Severity::Warn)));
    assert_eq!(engine("0.12.0", v0), None, "there is no V0 in it");
    assert_eq!(engine("0.9.0", both), None, "V1's counters");
}

/// A CPU has no CUDA graphs, so `--enforce-eager` costs nothing there.
#[test]
fn a_server_on_a_cpu_is_not_advised_to_use_cuda_graphs() {
    let eager = START.replace("'max_num_seqs'", "'enforce_eager': True, 'max_num_seqs'");
    let by_version = eager.replace("v0.10.0", "v0.10.0+cpu");
    let by_device = eager.replace("tensor_parallel_size=1", "tensor_parallel_size=1, device_config=cpu");
    for start in [by_version, by_device] {
        let mut kit = Kit::log(format!("{start}{}", lines(20, 2, 60, "")));
        assert!(kit.diagnosis().fine.contains(&"enforce-eager"), "{start}");
        measured(kit.run.as_mut().unwrap(), Latency::Tpot, vec![ms(60); 100]);
        let slow = kit.finding("slow-steps");
        let names = slow.changes.iter().filter_map(|change| Some(change.lever.as_ref()?.name));
        assert!(names.into_iter().all(|name| name != "--enforce-eager"), "{start}");
    }
}

#[test]
fn a_log_that_begins_after_the_start_tells_nothing_of_settings() {
    let diagnosis = Kit { run: None, ..Kit::log(lines(20, 2, 60, "")) }.diagnosis();
    let unjudged: Vec<_> = diagnosis.not_judged.iter().map(|rule| rule.rule).collect();
    for rule in ["enforce-eager", "delay-factor", "swap-space", "tensor-parallel"] {
        assert!(unjudged.contains(&rule), "{rule}: {unjudged:?}");
    }
    assert!(diagnosis.fine.contains(&"v0-engine") && diagnosis.fine.contains(&"queue"));
}

#[test]
fn levers_are_told_as_they_are_on_this_server() {
    let start =
        START.replace("v0.10.0", "v0.18.1").replace("'max_num_seqs'", "'swap_space': 16.0, 'max_num_seqs'");
    let finding = Kit::log(format!("{start}{}", lines(20, 2, 60, ""))).finding("swap-space");
    let lever = finding.changes.last().unwrap().lever.as_ref().unwrap();
    assert_eq!((lever.name, lever.here), ("--swap-space", Some(Availability::Gone)));
    assert_eq!(lever.now.as_deref(), Some("16.0"));
    let many = Kit::run(|run| {
        measured(run, Latency::Tpot, vec![ms(60); 100]);
        run.server.as_mut().unwrap().replicas[0].gauges.insert(ServerSignal::Running, flat(60.0));
    });
    let lever = many.finding("many-running").changes[0].lever.clone().unwrap();
    assert_eq!((lever.here, lever.now.as_deref()), (Some(Availability::Here), Some("64")));
}

/// The levers that a finding suggests.
fn levers(finding: &DiagnosisFinding) -> Vec<(&'static str, Option<NoChangeReason>)> {
    finding
        .changes
        .iter()
        .filter_map(|change| Some((change.lever.as_ref()?.name, change.lever.as_ref()?.done)))
        .collect()
}

#[test]
fn what_is_so_already_comes_last() {
    let queue = |start: &str| Kit::log(format!("{start}{}", lines(20, 71, 60, ""))).finding("queue");
    let chunks = "--enable-chunked-prefill";
    assert_eq!(levers(&queue(START)).last(), Some(&(chunks, Some(NoChangeReason::ByDefault))));
    let off = START.replace("'max_num_seqs'", "'enable_chunked_prefill': False, 'max_num_seqs'");
    assert_eq!(levers(&queue(&off)).first(), Some(&(chunks, None)));
    let old = lines_of_v0(0).replace("Pending: 2", "Pending: 71");
    assert_eq!(levers(&Kit { run: None, ..Kit::log(old) }.finding("queue")).first(), Some(&(chunks, None)));
    let fp8 = START.replace("'max_num_seqs'", "'kv_cache_dtype': 'fp8_e4m3', 'max_num_seqs'");
    let preempted = Kit::log(format!("{fp8}{}", lines(20, 2, 60, ", Preemptions: 4"))).finding("preemptions");
    assert_eq!(levers(&preempted).last(), Some(&("--kv-cache-dtype fp8", Some(NoChangeReason::Set))));
}

#[test]
fn a_setting_is_known_by_each_of_its_names() {
    let start = START.replace("enforce_eager=False", "max_seq_len=8192");
    let finding = Kit::log(format!("{start}{}", lines(20, 71, 60, ""))).finding("queue");
    let lever = finding.changes.iter().filter_map(|change| change.lever.as_ref());
    let now: Vec<_> = lever.map(|lever| lever.now.as_deref()).collect();
    assert_eq!(now, [Some("8192"), Some("64"), None]);
    let fp8 = BTreeMap::from([("cache_dtype".to_owned(), "fp8".to_owned())]);
    let mut kit = Kit::server(|replica| {
        replica.gauges.insert(ServerSignal::KvUsage, flat(0.97));
        replica.facts.insert(ServerSignal::CacheConfig, vec![fp8]);
    });
    kit.log = None;
    assert_eq!(
        levers(&kit.finding("kv-full")).last(),
        Some(&("--kv-cache-dtype fp8", Some(NoChangeReason::Set)))
    );
}

#[test]
fn a_full_batch_is_many_however_small_it_may_be() {
    let slow = |running| {
        let mut kit = Kit::run(|run| {
            measured(run, Latency::Tpot, vec![ms(60); 100]);
            run.server.as_mut().unwrap().replicas[0].gauges.insert(ServerSignal::Running, flat(running));
        });
        kit.log = kit.log.map(|log| log.replace("'max_num_seqs': 64", "'max_num_seqs': 8"));
        kit.diagnosis().findings[0].rule
    };
    assert_eq!((slow(8.0), slow(4.0)), ("many-running", "slow-steps"));
}

#[test]
fn several_gpus_are_suspected_only_where_tokens_are_slow_and_few_run() {
    let kit = |tpot| {
        let mut kit = Kit::run(|run| measured(run, Latency::Tpot, vec![ms(tpot); 100]));
        kit.log = kit.log.map(|log| log.replace("tensor_parallel_size=1", "tensor_parallel_size=2"));
        kit
    };
    assert_eq!(kit(60).finding("tensor-parallel").level, Severity::Hint);
    assert!(kit(20).diagnosis().fine.contains(&"tensor-parallel"));
}

#[test]
fn the_diagnosis_is_json_with_figures_and_times() {
    let log = format!("{START}{}", lines(20, 71, 60, ""));
    let json = serde_json::to_value(Kit::log(log).diagnosis()).unwrap();
    let fact = &json["findings"][0]["facts"][0];
    assert_eq!((&fact["origin"], &fact["figure"]["count"]), (&"log".into(), &71.into()));
    // The log has no years, so the latest is assumed that is not in the future.
    assert!(fact["when"]["at"].as_str().unwrap().ends_with("-07-28T10:00:00"), "{fact}");
    assert_eq!(fact["when"]["lasted_s"], 120.0);
    let lever = &json["findings"][0]["changes"][0]["lever"];
    assert_eq!((&lever["name"], &lever["here"]), (&"--max-model-len".into(), &"here".into()));
    assert_eq!(lever["versions"]["since"]["in"], "v0.2.0");
}
