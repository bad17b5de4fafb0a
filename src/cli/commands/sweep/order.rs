//! The order in which the cells are measured.

use super::plan::{Cell, Order, Plan};
use crate::model::rng::PythonRandom;

/// Returns the server start that a cell is measured on. Each round has a separate start, since runs on
/// one start do not show how much starts differ. Only grouped sets are not restarted.
pub(super) fn start(plan: &Plan, cell: &Cell) -> (usize, usize) {
    match plan.order {
        Order::Random | Order::Interleaved => (cell.set, cell.repeat),
        Order::Grouped => (cell.set, 0),
    }
}

impl Plan {
    /// Returns all cells in the order of measurement.
    pub(super) fn cells(&self) -> Vec<Cell> {
        let plan = self;
        let sets: Vec<usize> = (0..plan.sets.len()).collect();
        if plan.order == Order::Grouped {
            let repeats = |set| (0..plan.repeats).map(move |repeat| (set, repeat));
            let all = sets.into_iter().flat_map(repeats);
            return all
                .flat_map(|(set, repeat)| loads(plan, set).into_iter().map(move |load| (set, load, repeat)))
                .map(|(set, load, repeat)| plan.cell(set, load, repeat))
                .collect();
        }
        let mut random = PythonRandom::new(plan.seed);
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
}

fn loads(plan: &Plan, set: usize) -> Vec<usize> {
    plan.pairs.iter().filter(|pair| pair.0 == set).map(|pair| pair.1).collect()
}
