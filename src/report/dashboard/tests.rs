use super::*;

use crate::core::server::Signal;

/// A server that has gauges where another one has counters.
fn both() -> [Names; 2] {
    let common = [
        (Signal::Ttft, "ttft_seconds"),
        (Signal::PromptTokens, "prompt_tokens_total"),
        (Signal::Running, "running"),
        (Signal::KvUsage, "kv"),
        (Signal::Preemptions, "num_preemptions_total"),
    ];
    let gauges = [
        (Signal::PrefixHitRate, "hit_rate"),
        (Signal::SpecAcceptanceRate, "rate"),
        (Signal::SpecEfficiency, "efficiency"),
    ];
    let counters = [
        (Signal::PrefixHits, "hits_total"),
        (Signal::PrefixQueries, "queries_total"),
        (Signal::SpecDrafts, "drafts_total"),
        (Signal::SpecDraftTokens, "draft_tokens_total"),
        (Signal::SpecAcceptedTokens, "accepted_tokens_total"),
    ];
    let names = |label, own: &[(Signal, &'static str)]| Names {
        label,
        of: common.iter().chain(own).copied().collect(),
    };
    [names("gauges", &gauges), names("counters", &counters)]
}

fn panels(names: &Names) -> Vec<Value> {
    board::board(names)["panels"].as_array().unwrap().clone()
}

fn expressions(names: &Names) -> String {
    let targets = panels(names).into_iter().flat_map(|panel| panel["targets"].as_array().unwrap().clone());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned() + "\n").collect()
}

#[test]
fn every_panel_has_datasource_expr_unit_and_legend() {
    for panel in both().iter().flat_map(panels) {
        let title = &panel["title"];
        assert_eq!(panel["datasource"]["type"], "prometheus", "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title}");
        for target in targets {
            assert!(target["datasource"]["uid"].is_string(), "{title}");
            for field in ["expr", "legendFormat", "refId"] {
                assert!(!target[field].as_str().unwrap().is_empty(), "{title}: {field}");
            }
        }
    }
}

#[test]
fn the_four_panels_of_the_chapter_two_more_and_the_clients_are_there() {
    for names in both() {
        let panels = panels(&names);
        let titles: Vec<_> = panels.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
        let wanted = [
            "Latency",
            "Token throughput",
            "Queue",
            "KV pool and preemptions",
            "Prefix cache hits",
            "Speculative decoding",
            "Client: latency",
            "Client: requests a second, and in flight",
            "Client: token throughput",
            "Client: lag behind the schedule",
        ];
        assert_eq!(titles, wanted);
        assert_eq!(panels[2]["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"], "normal");
        let bars = &panels[3]["fieldConfig"]["overrides"];
        assert_eq!(bars.as_array().unwrap().len(), 1);
        let id = &bars[0]["matcher"]["options"];
        let preemptions =
            panels[3]["targets"].as_array().unwrap().iter().find(|target| target["refId"] == *id);
        assert!(preemptions.unwrap()["expr"].as_str().unwrap().contains("num_preemptions_total"));
    }
}

#[test]
fn rates_are_gauges_where_the_server_has_them_and_ratios_of_counters_elsewhere() {
    let [gauges, counters] = both().map(|names| expressions(&names) + &alerts::rules(&names));
    for part in
        ["max by (instance) (hit_rate >= 0)", "max by (instance) (rate)", "max by (instance) (efficiency)"]
    {
        assert!(gauges.contains(part) && !counters.contains(part), "{part}");
    }
    for part in
        ["rate(hits_total[", "rate(draft_tokens_total[", "1 + sum by (instance) (rate(accepted_tokens_total["]
    {
        assert!(counters.contains(part) && !gauges.contains(part), "{part}");
    }
    assert!(!gauges.contains("swapped"), "neither of both swaps");
}

#[test]
fn nothing_of_the_client_is_an_alert() {
    let [names, _] = both();
    assert!(expressions(&names).contains("servebench_ttft_seconds_bucket"));
    assert!(!alerts::rules(&names).contains("servebench_"));
}

#[test]
fn the_files_name_each_other_and_the_target() {
    let [names, _] = both();
    let pages = pages(&names, "gpu-1:8000");
    assert_eq!(pages.clone().map(|page| page.name), FILES);
    assert!(pages[0].text.contains("targets: [\"gpu-1:8000\"]") && pages[0].text.contains("- alerts.yml"));
    assert!(
        pages[0].text.contains("job_name: servebench")
            && pages[0].text.contains("targets: [\"localhost:9400\"]")
    );
    assert!(pages[1].text.contains("VllmKvNearlyFull"));
    assert!(serde_json::from_str::<Value>(&pages[2].text).is_ok());
}
