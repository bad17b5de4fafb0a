//! Calibration on public measurements: `tests/fixtures/calibration`.

use super::figures::RunFigures;
use super::measured::MeasuredRequest;
use super::overhead::OverheadSeconds;
use super::*;
use crate::predict::fleet::{FleetConfig, simulate};
use crate::predict::observer::SimulatedAnswer;
use crate::predict::router::RoundRobin;
use crate::predict::router::RouterPolicy;
use crate::predict::server_model::{EngineFact, FactSource};
use crate::predict::workload::SimulatedRequest;
use crate::sim::scheduler::BlockContents;

/// The runs of a fixture, by rate.
fn runs(text: &str) -> Vec<(f64, MeasuredRun)> {
    let mut runs: Vec<(f64, MeasuredRun)> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())) {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        let request = MeasuredRequest {
            start: cells[1] / 1e3,
            prompt: cells[2] as u32,
            output: cells[3] as u32,
            ttft: cells[4] / 1e3,
            decode: cells[5] / 1e3,
        };
        if runs.last().is_none_or(|(rate, _)| *rate != cells[0]) {
            let name = format!("{} requests a second", cells[0]);
            runs.push((cells[0], MeasuredRun { name, ..MeasuredRun::default() }));
        }
        let last = runs.len() - 1;
        runs[last].1.requests.push(request);
    }
    runs
}

fn facts(max_num_seqs: u64, max_num_batched_tokens: u64, num_gpu_blocks: u64) -> EngineFacts {
    let fact = |value| EngineFact { value, source: FactSource::Flag };
    EngineFacts {
        max_num_seqs: fact(max_num_seqs),
        max_num_batched_tokens: fact(max_num_batched_tokens),
        num_gpu_blocks: fact(num_gpu_blocks),
        block_size: fact(16),
        version: None,
    }
}

const ONE_SERVER: CalibrationFleet = CalibrationFleet { replicas: 1, router: RouterPolicy::RoundRobin };

/// Fits the runs of two rates and checks those of the others.
fn calibrated(text: &str, fitted: [f64; 2], facts: EngineFacts, fleet: CalibrationFleet) -> ServerModel {
    let (fitted, others): (Vec<_>, Vec<_>) =
        runs(text).into_iter().partition(|(rate, _)| fitted.contains(rate));
    let only_runs = |runs: Vec<(f64, MeasuredRun)>| runs.into_iter().map(|(_, run)| run).collect();
    let input = CalibrationInput {
        runs: only_runs(fitted),
        points: Vec::new(),
        holdout: only_runs(others),
        facts,
        fleet,
        fit_first: None,
        seed: 0,
        served_model: None,
    };
    calibrate(&input).unwrap()
}

/// The error of a figure in each hold-out run, in percent.
fn holdout_errors(model: &ServerModel, figure: fn(&RunFigures) -> f64) -> Vec<f64> {
    let error = |check: &RunCheck| 100.0 * (figure(&check.simulated) / figure(&check.measured) - 1.0);
    model.holdout.iter().map(error).collect()
}

fn mean_of(errors: &[f64]) -> f64 {
    errors.iter().map(|error| error.abs()).sum::<f64>() / errors.len() as f64
}

const LLAMA4_VLLM: &str = include_str!("../../../tests/fixtures/calibration/llama4-scout-vllm.csv");
const LLAMA4_LLM_D: &str = include_str!("../../../tests/fixtures/calibration/llama4-scout-llm-d.csv");
const LLAMA31: &str = include_str!("../../../tests/fixtures/calibration/llama31-8b-2replicas.csv");
const RTX4090: &str = include_str!("../../../tests/fixtures/calibration/rtx4090-llama31-8b.csv");

#[test]
fn two_rates_of_a_server_predict_its_other_rates() {
    for text in [LLAMA4_VLLM, LLAMA4_LLM_D] {
        let model = calibrated(text, [8.0, 24.0], facts(1024, 8192, 1 << 20), ONE_SERVER);
        let tpot = holdout_errors(&model, |figures| figures.tpot_mean);
        let throughput = holdout_errors(&model, |figures| figures.output_throughput);
        let median = holdout_errors(&model, |figures| figures.ttft_p50);
        assert!(mean_of(&tpot) < 3.0, "TPOT {tpot:?}");
        assert!(throughput.iter().all(|error| error.abs() < 2.0), "throughput {throughput:?}");
        assert!(mean_of(&median) < 10.0, "median TTFT {median:?}");
        // At 32 requests a second the client's or server's front end stalls for up to 300 ms, at other moments in the two
        // measurements of the same load: P95 there differs between them by more than the bound.
        let p95 = holdout_errors(&model, |figures| figures.ttft_p95);
        assert!(p95[..2].iter().all(|error| error.abs() < 25.0), "P95 TTFT {p95:?}");
    }
}

#[test]
fn two_rates_of_two_servers_behind_a_random_router_predict_the_others() {
    let fleet = CalibrationFleet { replicas: 2, router: RouterPolicy::Random };
    let model = calibrated(LLAMA31, [2.0, 8.0], facts(256, 1024, 1 << 20), fleet);
    let tpot = holdout_errors(&model, |figures| figures.tpot_mean);
    assert!(mean_of(&tpot) < 2.0, "TPOT {tpot:?}");
}

#[test]
fn the_first_hundred_requests_of_an_overload_predict_the_others() {
    let input = CalibrationInput {
        runs: runs(RTX4090).into_iter().map(|(_, run)| run).collect(),
        fit_first: Some(100),
        ..input(Vec::new(), facts(256, 2048, 2588))
    };
    let model = calibrate(&input).unwrap();
    let means: [fn(&RunFigures) -> f64; 3] =
        [|figures| figures.ttft_mean, |figures| figures.tpot_mean, |figures| figures.e2e_mean];
    for figure in means {
        let error = holdout_errors(&model, figure)[0];
        assert!(error.abs() < 5.0, "{error}");
    }
}

fn input(runs: Vec<MeasuredRun>, facts: EngineFacts) -> CalibrationInput {
    CalibrationInput {
        runs,
        points: Vec::new(),
        holdout: Vec::new(),
        facts,
        fleet: ONE_SERVER,
        fit_first: None,
        seed: 0,
        served_model: None,
    }
}

/// A closed loop on a simulated server, as its client would measure it.
fn measured_loop(
    server: &ServerConfig,
    concurrency: usize,
    requests: u64,
    shape: fn(u64) -> (u32, u32),
) -> MeasuredRun {
    let config = FleetConfig {
        replicas: 1,
        server: server.clone(),
        split: None,
        max_concurrency: Some(concurrency),
        seed: 1,
    };
    let mut sent = (0..requests).map(|index| {
        let (prompt, output) = shape(index);
        let contents = BlockContents::NONE;
        SimulatedRequest { index, due: Ticks::ZERO, prompt, output, session: None, contents }
    });
    let mut run = MeasuredRun { name: format!("{concurrency} in flight"), ..MeasuredRun::default() };
    let mut observer = |answer: &SimulatedAnswer| {
        run.requests.push(MeasuredRequest {
            start: answer.sent.as_seconds(),
            prompt: answer.prompt,
            output: answer.output,
            ttft: (answer.first_token - answer.sent).as_seconds(),
            decode: (answer.last_token - answer.first_token).as_seconds(),
        });
    };
    simulate(&config, &mut sent, &mut RoundRobin::default(), &mut observer).unwrap();
    run.requests.sort_by(|a, b| a.start.total_cmp(&b.start));
    run
}

#[test]
fn a_probe_recovers_hidden_coefficients() {
    let hidden = [
        ("each step", 8e-3),
        ("each sequence in a step", 60e-6),
        ("each token of context", 0.2e-6),
        ("each prompt token", 20e-6),
    ];
    let value = |term| {
        hidden.iter().find(|(name, _)| *name == step_terms::name(term)).map_or(0.0, |(_, value)| *value)
    };
    let coefficients: Vec<f64> = (0..step_terms::TERMS).map(value).collect();
    let overhead = OverheadSeconds { base: 5e-3, per_prompt_token: 1e-6, per_delivered_token: 0.0 };
    let facts = facts(64, 2048, 1 << 20);
    let server = FittedCosts { coefficients, overhead }.server(facts.limits()).unwrap();
    let mut runs =
        vec![measured_loop(&server, 1, 30, |at| ([16, 128, 512, 1024, 2048][at as usize / 6], 16))];
    for concurrency in [1, 2, 4, 8, 16, 32] {
        runs.push(measured_loop(&server, concurrency, 2 * concurrency as u64, |at| {
            (16, 90 + (at * 37 % 80) as u32)
        }));
    }
    runs.push(measured_loop(&server, 8, 16, |at| {
        (1400 + (at * 331 % 1300) as u32, 90 + (at * 37 % 80) as u32)
    }));
    runs.push(measured_loop(&server, 16, 96, |at| {
        (100 + (at * 331 % 800) as u32, 20 + (at * 37 % 90) as u32)
    }));
    let model = calibrate(&input(runs, facts)).unwrap();
    for (name, value) in hidden {
        let found = model.coefficients.iter().find(|estimate| estimate.name == name).unwrap();
        assert!(
            (found.value / value - 1.0).abs() < 0.02,
            "{name}: {found:?} is not {value}\n{:?}",
            model.coefficients
        );
    }
    assert!((model.costs.overhead.base / 5e-3 - 1.0).abs() < 0.02, "{:?}", model.costs.overhead);
    // Prompt tokens in the engine differ from those outside it only in that they block other requests.
    let of_prompt = model.costs.overhead.per_prompt_token + model.costs.step_time.prefill_token;
    assert!((of_prompt / 21e-6 - 1.0).abs() < 0.02, "{of_prompt} {:?}", model.costs.overhead);
}

#[test]
fn too_few_requests_and_requests_that_no_server_can_run_are_refused() {
    let one = measured_run(1, 100);
    for runs in [Vec::new(), vec![MeasuredRun::default()], vec![one]] {
        let error = calibrate(&input(runs, facts(8, 2048, 100))).unwrap_err();
        assert!(matches!(error, FitError::TooFew { .. }), "{error}");
    }
    let error = calibrate(&input(vec![measured_run(20, 9000)], facts(8, 2048, 100))).unwrap_err();
    assert!(error.to_string().contains("can never run on this server"), "{error}");
}

fn measured_run(requests: u32, prompt: u32) -> MeasuredRun {
    let request =
        |at: u32| MeasuredRequest { start: f64::from(at), prompt, output: 10, ttft: 0.05, decode: 0.1 };
    MeasuredRun { requests: (0..requests).map(request).collect(), ..MeasuredRun::default() }
}

#[test]
fn a_calibration_repeats_to_the_byte() {
    let again = || calibrate(&input(vec![measured_run(40, 100)], facts(8, 2048, 100))).unwrap().to_json();
    assert_eq!(again(), again());
}

/// The load points of a summary: concurrency, prompt and output tokens, TPOT in ms and output tokens a second.
fn points(rows: &[[f64; 5]]) -> Vec<LoadPoint> {
    let point = |[concurrency, prompt, output, tpot, output_throughput]: &[f64; 5]| LoadPoint {
        name: format!("{concurrency} in flight"),
        concurrency: *concurrency,
        prompt: *prompt,
        output: *output,
        tpot: tpot / 1e3,
        output_throughput: *output_throughput,
    };
    rows.iter().map(point).collect()
}

/// gpt-oss-120b with 8 GPUs for decoding (SemiAnalysisAI/InferenceX at 24b02df, Apache-2.0): mean TPOT.
const GPT_OSS: [[f64; 5]; 8] = [
    [4.0, 1024.0, 1024.0, 8.387, 459.2],
    [8.0, 1024.0, 1024.0, 8.482, 929.0],
    [16.0, 1024.0, 1024.0, 9.044, 1725.6],
    [32.0, 1024.0, 1024.0, 10.352, 2985.6],
    [64.0, 1024.0, 1024.0, 12.526, 5002.6],
    [128.0, 1024.0, 1024.0, 14.871, 8368.3],
    [256.0, 1024.0, 1024.0, 17.745, 13975.9],
    [512.0, 1024.0, 1024.0, 22.055, 22534.2],
];

#[test]
fn means_of_a_closed_loop_tell_the_cost_of_sequences() {
    let points = points(&GPT_OSS);
    let input = CalibrationInput { points, ..input(Vec::new(), facts(1024, 8192, 1 << 20)) };
    let model = calibrate(&input).unwrap();
    let errors: Vec<f64> =
        model.points.iter().map(|point| 100.0 * (point.fitted_tpot / point.measured_tpot - 1.0)).collect();
    assert!(mean_of(&errors) < 3.0, "{errors:?}");
    assert!(model.not_identified.iter().any(|sentence| sentence.contains("outside the engine")));
}
