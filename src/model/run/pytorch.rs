//! The format of PyTorch's benchmark database, which vLLM's dashboards read: one record for each statistic.

use serde_json::{Map, Value, json};

use super::{Run, vllm};
use crate::model::units::Secret;

/// The statistics that get a record, as vLLM's client chooses them; statistics that were not requested get none.
const STATISTICS: [&str; 12] = [
    "median_ttft_ms",
    "mean_ttft_ms",
    "std_ttft_ms",
    "p99_ttft_ms",
    "mean_tpot_ms",
    "median_tpot_ms",
    "std_tpot_ms",
    "p99_tpot_ms",
    "median_itl_ms",
    "mean_itl_ms",
    "std_itl_ms",
    "p99_itl_ms",
];

/// The records of a run whose result file has this name. The numbers of every single request, which vLLM repeats in
/// each record, are left out.
pub(crate) fn benchmark_records(run: &Run, file_name: &str) -> Value {
    let keys = vllm::keys(run);
    let is_statistic = |key: &str| STATISTICS.contains(&key);
    let rest: Map<String, Value> = keys
        .iter()
        .filter(|(key, value)| !is_statistic(key) && !value.is_array())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let benchmark = json!({"name": "vLLM benchmark", "extra_info": extra_info(run, file_name)});
    let record = |(name, value): (&str, &Value)| {
        json!({
            "benchmark": benchmark,
            "model": {"name": run.spec.target.model},
            "metric": {"name": name, "benchmark_values": [value], "extra_info": rest},
        })
    };
    STATISTICS.into_iter().filter_map(|name| Some((name, keys.get(name)?))).map(record).collect()
}

/// The fields that the dashboard groups by.
fn extra_info(run: &Run, file_name: &str) -> Value {
    let noted = |key: &str| run.notes.metadata.get(key).map_or("", String::as_str);
    let mode = noted("compilation_config.mode");
    json!({
        "args": arguments(run),
        "compilation_config.mode": mode,
        "optimization_level": noted("optimization_level"),
        "use_compile": mode != "0" && !file_name.contains("eager"),
    })
}

/// The flags under vLLM's names, where a run stores them, and the whole command line; headers are masked.
fn arguments(run: &Run) -> Value {
    let (target, load) = (&run.spec.target, &run.spec.load);
    let header = (!target.headers.is_empty()).then_some(Secret::MASK);
    let mut arguments = json!({
        "backend": target.backend.name(),
        "base_url": target.base_url,
        "endpoint": target.endpoint,
        "model": target.model,
        "served_model_name": target.served_model_name,
        "header": header,
        "dataset_name": run.spec.workload.dataset.name(),
        "num_prompts": run.spec.workload.num_prompts,
        "request_rate": load.request_rate,
        "max_concurrency": load.max_concurrency,
        "seed": run.spec.seed,
        "label": run.notes.label,
        "command": run.command,
    });
    if let Some(size) = run.notes.metadata.get("tensor_parallel_size") {
        arguments["tensor_parallel_size"] = json!(size);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sample_run::run;

    #[test]
    fn every_statistic_has_a_record_with_everything_else_beside_it() {
        let mut run = run(true);
        run.notes.metadata.insert("tensor_parallel_size".into(), "2".into());
        let records = benchmark_records(&run, "result.json");
        let records = records.as_array().unwrap();
        assert_eq!(records.len(), STATISTICS.len());
        let first = &records[0];
        assert_eq!(first["benchmark"]["name"], "vLLM benchmark");
        assert_eq!(first["model"]["name"], "meta-llama/Llama-3-8B-Instruct");
        assert_eq!(first["metric"]["name"], "median_ttft_ms");
        assert_eq!(first["metric"]["benchmark_values"], json!([100.0]));
        let info = &first["benchmark"]["extra_info"];
        assert_eq!(
            (&info["use_compile"], &info["args"]["tensor_parallel_size"]),
            (&json!(true), &json!("2"))
        );
        let rest = first["metric"]["extra_info"].as_object().unwrap();
        assert_eq!((&rest["completed"], &rest["mean_e2el_ms"]), (&json!(1), &json!(200.0)));
        assert!(!rest.contains_key("ttfts") && !rest.contains_key("latencies"), "one copy is enough");
    }

    #[test]
    fn statistics_that_were_not_asked_for_have_none() {
        let mut run = run(false);
        run.selection.percents = vec![50.0];
        run.selection.latencies.truncate(1);
        let records = benchmark_records(&run, "result.json");
        let names: Vec<_> =
            records.as_array().unwrap().iter().map(|record| record["metric"]["name"].clone()).collect();
        assert_eq!(names, ["median_ttft_ms", "mean_ttft_ms", "std_ttft_ms"]);
    }

    #[test]
    fn headers_are_masked_and_eager_runs_known_by_their_name() {
        let records = benchmark_records(&run(false), "llama-eager.json");
        assert!(!records.to_string().contains("sk-secret"));
        let info = &records[0]["benchmark"]["extra_info"];
        assert_eq!((&info["args"]["header"], &info["use_compile"]), (&json!("***"), &json!(false)));
    }
}
