//! In which order the cells are measured.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::plan::{Cell, Plan};
use crate::core::rng::Random;

/// A machine drifts: it warms up, and others come and go. What is measured in rounds suffers alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// A round for each repeat, in each round the sets in random order, of each set the loads in random order
    Random,
    /// The same with the sets forwards in one round and backwards in the next
    Interleaved,
    /// One set after the other with all its repeats, on one start of each server: what differs from one start to the next, and a
    /// drift of the machine, count as the set's
    Grouped,
}

/// Which start of its set's server a cell is measured on. Runs on one start do not show how much starts differ, so each round
/// has its own; only grouped sets are not restarted.
pub fn start(plan: &Plan, cell: &Cell) -> (usize, usize) {
    match plan.order {
        Order::Random | Order::Interleaved => (cell.set, cell.repeat),
        Order::Grouped => (cell.set, 0),
    }
}

/// All cells of a plan, in its order.
pub fn cells(plan: &Plan) -> Vec<Cell> {
    let sets: Vec<usize> = (0..plan.sets.len()).collect();
    if plan.order == Order::Grouped {
        let repeats = |set| (0..plan.repeats).map(move |repeat| (set, repeat));
        let all = sets.into_iter().flat_map(repeats);
        return all
            .flat_map(|(set, repeat)| loads(plan, set).into_iter().map(move |load| (set, load, repeat)))
            .map(|(set, load, repeat)| plan.cell(set, load, repeat))
            .collect();
    }
    let mut random = Random::new(plan.seed);
    let mut cells = Vec::new();
    for repeat in 0..plan.repeats {
        let mut sets = sets.clone();
        match plan.order {
            Order::Random => random.shuffle(&mut sets),
            _ if repeat % 2 == 1 => sets.reverse(),
            _ => {}
        }
        for set in sets {
            let mut loads = loads(plan, set);
            if plan.order == Order::Random {
                random.shuffle(&mut loads);
            }
            cells.extend(loads.into_iter().map(|load| plan.cell(set, load, repeat)));
        }
    }
    cells
}

fn loads(plan: &Plan, set: usize) -> Vec<usize> {
    plan.pairs.iter().filter(|pair| pair.0 == set).map(|pair| pair.1).collect()
}
