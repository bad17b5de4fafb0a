//! How the numbers of a run are made whose requests are too many for memory.

use std::io::{self, Write};

use crate::model::plain_text::one_line;
use crate::model::run::Run;

/// Says that percentiles are those of histograms and intervals those of a sample; writes nothing if they are exact.
pub(super) fn render(run: &Run, to: &mut impl Write) -> io::Result<()> {
    let Some(sampled) = &run.sampled else { return Ok(()) };
    writeln!(
        to,
        "{} requests: percentiles are within 0.1 % (from histograms), intervals and trends from a sample of {}",
        sampled.requests, sampled.sample
    )?;
    match &sampled.log {
        Some(log) => writeln!(to, "Every request: {}", one_line(log)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run_records::SampledRecords;
    use crate::testing::sample_run;

    fn rendered(run: &Run) -> String {
        let mut text = Vec::new();
        render(run, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_run_with_a_sample_says_so_and_names_its_log() {
        let mut run = sample_run::run(false);
        assert_eq!(rendered(&run), "");
        let log = Some("big.reclog".to_owned());
        run.sampled = Some(SampledRecords { requests: 400_000, sample: 100_123, log });
        let text = rendered(&run);
        assert!(text.contains("within 0.1 %") && text.contains("a sample of 100123\n"), "{text}");
        assert!(text.ends_with("Every request: big.reclog\n"), "{text}");
    }
}
