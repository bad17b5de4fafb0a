use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use flate2::read::GzDecoder;
use serde::Deserialize;

use super::*;

/// Recorded from CPython 3.11 and numpy 2.3 by scripts/python-fixtures.
const RECORDED: &[u8] = include_bytes!("../../../tests/fixtures/python/primitives.json.gz");

const BOUNDS: [u32; 10] = [1, 2, 3, 10, 255, 256, 50257, 151_643, (1 << 31) + 1, u32::MAX];
const SHAPES: [f64; 5] = [0.2, 0.9, 1.0, 1.5, 30.0];

#[derive(Deserialize)]
struct Recorded {
    random: RecordedRandom,
    legacy: RecordedLegacy,
    generator: RecordedGenerator,
}

#[derive(Deserialize)]
struct RecordedRandom {
    below: Vec<usize>,
    deck: Vec<usize>,
    choices: Vec<usize>,
    doubles: Vec<f64>,
}

#[derive(Deserialize)]
struct RecordedLegacy {
    doubles: Vec<f64>,
    integers: Vec<Vec<u32>>,
    gamma: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct RecordedGenerator {
    integers: Vec<Vec<u32>>,
    between: Vec<u32>,
}

fn recorded() -> BTreeMap<u64, Recorded> {
    let all: BTreeMap<String, Recorded> = serde_json::from_reader(GzDecoder::new(RECORDED)).unwrap();
    assert!(all.len() > 5);
    all.into_iter().map(|(seed, recorded)| (seed.parse().unwrap(), recorded)).collect()
}

fn times<T>(n: usize, draw: impl FnMut() -> T) -> Vec<T> {
    std::iter::repeat_with(draw).take(n).collect()
}

/// Five draws below each bound.
fn integers(mut draw: impl FnMut(&RangeInclusive<u32>) -> u32) -> Vec<Vec<u32>> {
    BOUNDS.map(|bound| times(5, || draw(&(0..=bound - 1)))).into()
}

/// Equal except for the last bits, which depend on the C library.
fn assert_close(ours: &[f64], theirs: &[f64]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= 1e-14 * theirs.abs(), "{ours} is not {theirs}");
    }
}

#[test]
fn random_is_cpythons() {
    for (seed, Recorded { random: recorded, .. }) in recorded() {
        let mut random = PythonRandom::new(seed);
        let below: Vec<usize> =
            BOUNDS.iter().cycle().take(30).map(|bound| random.below(*bound as usize)).collect();
        assert_eq!(below, recorded.below, "seed {seed}");
        let mut deck: Vec<usize> = (0..30).collect();
        random.shuffle(&mut deck);
        assert_eq!(deck, recorded.deck);
        assert_eq!(times(20, || random.below(7)), recorded.choices);
        assert_eq!(times(5, || random.double()), recorded.doubles);
    }
}

#[test]
fn random_state_is_numpys_legacy_generator() {
    for (seed, Recorded { legacy: recorded, .. }) in recorded() {
        let mut state = NumpyRandomState::new(seed);
        assert_eq!(times(5, || state.double()), recorded.doubles, "seed {seed}");
        assert_eq!(integers(|range| state.integer(range)), recorded.integers);
        for (shape, theirs) in SHAPES.into_iter().zip(recorded.gamma) {
            assert_close(&times(6, || state.gamma(shape, 0.7)), &theirs);
        }
    }
}

#[test]
fn generator_is_numpys_default_rng() {
    for (seed, Recorded { generator: recorded, .. }) in recorded() {
        let mut generator = NumpyGenerator::new(seed);
        assert_eq!(integers(|range| generator.integer(range)), recorded.integers, "seed {seed}");
        assert_eq!(times(20, || generator.integer(&(90..=110))), recorded.between);
    }
}

#[test]
fn seeds_of_two_words_are_taken_whole() {
    let (small, large) = (7, 7 | 1 << 32);
    assert_ne!(PythonRandom::new(small).double(), PythonRandom::new(large).double());
    assert_ne!(NumpyRandomState::new(small).double(), NumpyRandomState::new(large).double());
    let all = 0..=u32::MAX;
    assert_ne!(NumpyGenerator::new(small).integer(&all), NumpyGenerator::new(large).integer(&all));
}

#[test]
fn more_than_32_bits_are_drawn_low_word_first() {
    // CPython: random.seed(3); random.getrandbits(40), random.getrandbits(64)
    let mut random = PythonRandom::new(3);
    assert_eq!([random.bits(40), random.bits(64)], [649_562_111_997, 2_405_875_930_906_139_466]);
}
