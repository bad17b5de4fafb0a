use super::*;

use crate::model::server::ServerSignal;

/// Two versions: one has gauges where the other has counters.
fn both() -> [MetricNames; 2] {
    let common = [
        (ServerSignal::Ttft, "ttft_seconds"),
        (ServerSignal::PromptTokens, "prompt_tokens_total"),
        (ServerSignal::Running, "running"),
        (ServerSignal::KvUsage, "kv"),
        (ServerSignal::Preemptions, "num_preemptions_total"),
    ];
    let gauges = [
        (ServerSignal::PrefixHitRate, "hit_rate"),
        (ServerSignal::SpecAcceptanceRate, "rate"),
        (ServerSignal::SpecEfficiency, "efficiency"),
    ];
    let counters = [
        (ServerSignal::PrefixHits, "hits_total"),
        (ServerSignal::PrefixQueries, "queries_total"),
        (ServerSignal::SpecDrafts, "drafts_total"),
        (ServerSignal::SpecDraftTokens, "draft_tokens_total"),
        (ServerSignal::SpecAcceptedTokens, "accepted_tokens_total"),
    ];
    let names = |label, own: &[(ServerSignal, &'static str)]| MetricNames {
        label,
        of: common.iter().chain(own).copied().collect(),
    };
    [names("gauges", &gauges), names("counters", &counters)]
}

fn panels(names: &MetricNames) -> Vec<Value> {
    grafana::grafana_board(names)["panels"].as_array().unwrap().clone()
}

fn expressions(names: &MetricNames) -> String {
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
fn the_panels_of_the_guide_three_more_and_the_clients_are_there() {
    for names in both() {
        let panels = panels(&names);
        let titles: Vec<_> = panels.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
        let wanted = [
            "Latency",
            "Time per output token",
            "Token throughput",
            "Queue",
            "KV pool and preemptions",
            "Prefix cache hits",
            "Speculative decoding",
            "Client: latency",
            "Client: time per output token",
            "Client: requests a second, and in flight",
            "Client: token throughput",
            "Client: lag behind the schedule",
        ];
        assert_eq!(titles, wanted);
        assert_eq!(panels[3]["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"], "normal");
        let bars = &panels[4]["fieldConfig"]["overrides"];
        assert_eq!(bars.as_array().unwrap().len(), 1);
        let id = &bars[0]["matcher"]["options"];
        let preemptions =
            panels[4]["targets"].as_array().unwrap().iter().find(|target| target["refId"] == *id);
        assert!(preemptions.unwrap()["expr"].as_str().unwrap().contains("num_preemptions_total"));
    }
}

#[test]
fn rates_are_gauges_where_the_server_has_them_and_ratios_of_counters_elsewhere() {
    let [gauges, counters] = both().map(|names| expressions(&names) + &alerts::alert_rules(&names));
    for part in ["max by (instance) (hit_rate{", "max by (instance) (rate{", "max by (instance) (efficiency{"]
    {
        assert!(gauges.contains(part) && !counters.contains(part), "{part}");
    }
    for part in
        ["rate(hits_total{", "rate(draft_tokens_total{", "1 + sum by (instance) (rate(accepted_tokens_total{"]
    {
        assert!(counters.contains(part) && !gauges.contains(part), "{part}");
    }
    assert!(!gauges.contains("swapped"), "neither of both swaps");
}

#[test]
fn tpot_is_that_of_requests_where_the_server_has_it_and_itl_is_beside_it() {
    let [mut names, _] = both();
    let older = "vllm:time_per_output_token_seconds";
    assert!(expressions(&names).contains(&format!("rate({older}_bucket{{")));
    names.of.insert(ServerSignal::Tpot, "request_tpot");
    names.of.insert(ServerSignal::Itl, "itl");
    let (board, rules) = (panels(&names)[1].to_string(), alerts::alert_rules(&names));
    for text in [&board, &rules] {
        let [newer, older] = ["request_tpot_bucket", older].map(|name| text.find(name).unwrap());
        assert!(newer < older && text[newer..older].contains(" or histogram_quantile("), "{text}");
    }
    assert!(board.contains("rate(itl_bucket{") && !rules.contains("itl_bucket"), "{board}");
    assert!(rules.contains("))) or histogram_quantile(") && rules.contains(") > 0.03"), "{rules}");
    names.of.insert(ServerSignal::Itl, "vllm:time_per_output_token_seconds");
    assert_eq!(panels(&names)[1]["targets"].as_array().unwrap().len(), 3, "ITL is not drawn twice");
}

#[test]
fn the_servers_panels_follow_the_variables_and_the_clients_do_not() {
    let [names, _] = both();
    let board = grafana::grafana_board(&names);
    let variables = board["templating"]["list"].as_array().unwrap();
    let names_of: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names_of, ["datasource", "model", "instance"]);
    assert_eq!(variables[1]["definition"], "label_values(running, model_name)");
    assert_eq!(variables[2]["definition"], "label_values(running{model_name=~\"$model\"}, instance)");
    for panel in board["panels"].as_array().unwrap() {
        let is_client = panel["title"].as_str().unwrap().starts_with("Client");
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            let chosen = expr.matches("{instance=~\"$instance\",model_name=~\"$model\"}").count();
            assert_eq!(chosen > 0, !is_client, "{expr}");
        }
    }
}

#[test]
fn nothing_of_the_client_is_an_alert() {
    let [names, _] = both();
    assert!(expressions(&names).contains("servegauge_ttft_seconds_bucket"));
    assert!(!alerts::alert_rules(&names).contains("servegauge_"));
}

#[test]
fn the_files_name_each_other_and_the_target() {
    let [names, _] = both();
    let pages = dashboard_files(&names, "gpu-1:8000");
    assert_eq!(pages.clone().map(|page| page.name), FILE_NAMES);
    assert!(pages[0].text.contains("targets: [\"gpu-1:8000\"]") && pages[0].text.contains("- alerts.yml"));
    assert!(
        pages[0].text.contains("job_name: servegauge")
            && pages[0].text.contains("targets: [\"localhost:19400\"]")
    );
    assert!(pages[1].text.contains("VllmKvNearlyFull"));
    assert!(serde_json::from_str::<Value>(&pages[2].text).is_ok());
}
