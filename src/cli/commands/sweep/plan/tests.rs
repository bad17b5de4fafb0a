use super::super::budget;
use super::*;

/// A load with these flags of `run`, and of `search`.
fn load(name: &str, run: &str, search: Option<&str>) -> Load {
    let words = |text: &str| shlex::split(text).unwrap();
    Load::new(name.into(), words(run), search.map(words)).unwrap()
}

fn plan(sets: usize, loads: usize, order: Order) -> Plan {
    let set = |at: usize| Set {
        name: format!("s{at}"),
        server: Source::Command(CommandTemplate::new("server --port {port}").unwrap(), BTreeMap::new()),
        gpus: 1.0,
    };
    Plan {
        sets: (0..sets).map(set).collect(),
        loads: (0..loads).map(|at| load(&format!("l{at}"), "--num-prompts 1", None)).collect(),
        pairs: Plan::all_pairs(sets, loads),
        repeats: 3,
        order,
        seed: 7,
        caches: Caches::Reset,
        slo: Vec::new(),
        health_timeout: Duration::from_secs(1),
        pass_env: Vec::new(),
        naming: Naming::Ours,
    }
}

fn sets(plan: &Plan) -> Vec<usize> {
    plan.cells().iter().map(|cell| cell.set).collect()
}

#[test]
fn every_order_has_every_cell_once() {
    for order in [Order::Random, Order::Interleaved, Order::Grouped] {
        let cells = plan(4, 3, order).cells();
        let files: BTreeSet<_> = cells.iter().map(|cell| &cell.file).collect();
        assert_eq!((cells.len(), files.len()), (36, 36), "{order:?}");
    }
}

#[test]
fn every_round_has_starts_of_its_own_unless_sets_are_grouped() {
    let interleaved = plan(3, 1, Order::Interleaved);
    assert_eq!(sets(&interleaved), [0, 1, 2, 2, 1, 0, 0, 1, 2]);
    assert_eq!(budget::starts(&interleaved, &interleaved.cells(), None), 9);
    let grouped = plan(3, 1, Order::Grouped);
    assert_eq!(sets(&grouped), [0, 0, 0, 1, 1, 1, 2, 2, 2]);
    assert_eq!(budget::starts(&grouped, &grouped.cells(), None), 3);
    let restarted = Plan { caches: Caches::Restart, ..grouped };
    assert_eq!(budget::starts(&restarted, &restarted.cells(), None), 9);
}

#[test]
fn a_random_order_is_the_seeds_and_goes_in_rounds() {
    let random = plan(5, 1, Order::Random);
    assert_eq!(sets(&random), sets(&random));
    assert_ne!(sets(&random), sets(&Plan { seed: 8, ..random.clone() }));
    for round in sets(&random).chunks(5) {
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 5);
    }
}

#[test]
fn sets_get_the_same_requests_and_every_repeat_and_load_others() {
    let plan = plan(2, 2, Order::Grouped);
    assert_eq!(plan.cell(0, 1, 2).seed, plan.cell(1, 1, 2).seed);
    let seeds: BTreeSet<_> = plan.cells().iter().map(|cell| cell.seed).collect();
    assert_eq!(seeds.len(), 6);
    let mut given = plan.clone();
    given.loads[0] = load("l0", "--num-prompts 1 --seed=40", None);
    assert_eq!(given.cell(0, 0, 2).seed, 42, "the flags' own seed is the first");
}

#[test]
fn a_cell_is_another_when_anything_that_determines_it_is() {
    let before = plan(1, 1, Order::Grouped);
    let digest = |plan: &Plan| plan.cell(0, 0, 0).digest;
    let mut other = before.clone();
    other.sets[0].server = Source::Command(CommandTemplate::new("server --fast").unwrap(), BTreeMap::new());
    assert_ne!(digest(&before), digest(&other));
    let mut other = before.clone();
    other.loads[0] = load("l0", "--num-prompts 1 --ignore-eos", None);
    assert_ne!(digest(&before), digest(&other));
    let more = Plan { repeats: 9, order: Order::Random, ..before.clone() };
    assert_eq!(digest(&before), digest(&more), "more repeats can be added to a sweep");
}

#[test]
fn names_are_made_fit_for_files() {
    let mut plan = plan(1, 1, Order::Grouped);
    plan.sets[0].name = "../a b/c".into();
    assert_eq!(plan.cell(0, 0, 0).file, "___a_b_c-l0-r1.json");
    assert_eq!(plan.log(0), "___a_b_c.log");
    plan.naming = Naming::Vllm;
    assert_eq!(plan.cell(0, 0, 1).file, "SERVE--___a_b_c-BENCH--l0/run=1.json");
}

#[test]
fn a_search_gives_its_trials_seeds_that_no_other_cell_has() {
    let mut plan = plan(2, 2, Order::Grouped);
    let before = plan.cell(0, 1, 1);
    plan.loads[1] = load("l1", "--num-prompts 1", Some("--slo 'ttft.p95<1s'"));
    let cell = plan.cell(0, 1, 1);
    assert_ne!(cell.digest, before.digest, "a search is no run");
    assert!(cell.seed - plan.cell(0, 1, 0).seed > 500, "room for every trial");
    assert_eq!(cell.seed, plan.cell(1, 1, 1).seed, "the same for all sets");
    plan.loads[1] = load("l1", "--num-prompts 1", Some("--slo 'ttft.p95<1s' --seed 4"));
    assert_eq!(plan.cell(0, 1, 0).seed, 4);
}
