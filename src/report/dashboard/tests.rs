use super::*;

const BOTH: [NameSet; 2] = [NameSet::Vllm06, NameSet::Vllm1];

fn panels(names: NameSet) -> Vec<Value> {
    board::board(names)["panels"].as_array().unwrap().clone()
}

fn expressions(names: NameSet) -> String {
    let targets = panels(names).into_iter().flat_map(|panel| panel["targets"].as_array().unwrap().clone());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned() + "\n").collect()
}

#[test]
fn every_panel_has_datasource_expr_unit_and_legend() {
    for panel in BOTH.into_iter().flat_map(panels) {
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
fn the_four_panels_of_the_chapter_and_two_more_are_there() {
    for names in BOTH {
        let panels = panels(names);
        let titles: Vec<_> = panels.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
        let wanted = [
            "Latency",
            "Token throughput",
            "Queue",
            "KV pool and preemptions",
            "Prefix cache hits",
            "Speculative decoding",
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
fn each_version_has_its_own_names_only() {
    let [old, new] = BOTH.map(|names| expressions(names) + &alerts::rules(names));
    for name in
        ["vllm:gpu_cache_usage_perc", "vllm:time_per_output_token_seconds", "vllm:num_requests_swapped"]
    {
        assert!(old.contains(name) && !new.contains(name), "{name}");
    }
    for name in
        ["vllm:kv_cache_usage_perc", "vllm:inter_token_latency_seconds", "vllm:prefix_cache_hits_total"]
    {
        assert!(new.contains(name) && !old.contains(name), "{name}");
    }
}

#[test]
fn a_version_finds_its_names() {
    let found = ["0.6.6.post1", "v0.7.3", "0.11.0", "1.0.0", "0.20.1rc2", "0.9.2", "servebench-sim", ""];
    let expected = [
        Some(NameSet::Vllm06),
        Some(NameSet::Vllm06),
        Some(NameSet::Vllm1),
        Some(NameSet::Vllm1),
        Some(NameSet::Vllm1),
        None,
        None,
        None,
    ];
    assert_eq!(found.map(NameSet::of_version), expected);
}

#[test]
fn the_files_name_each_other_and_the_target() {
    let pages = pages(NameSet::Vllm1, "gpu-1:8000");
    assert_eq!(pages.clone().map(|page| page.name), FILES);
    assert!(pages[0].text.contains("targets: [\"gpu-1:8000\"]") && pages[0].text.contains("- alerts.yml"));
    assert!(pages[1].text.contains("VllmKvNearlyFull"));
    assert!(serde_json::from_str::<Value>(&pages[2].text).is_ok());
}
