//! The wall-clock simulator's step loop with a clock that is set forward: the oracle of virtual time.

use crate::predict::{
    observer::SimulatedAnswer, step_time::StepTimeModel, ticks::Ticks, workload::SimulatedRequest,
};
use crate::sim::scheduler::{Scheduler, SchedulerLimits, SequenceShape};

/// An answer, and the number of the step that generated each of its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LoopAnswer {
    pub answer: SimulatedAnswer,
    pub token_steps: Vec<u64>,
}

/// Answers requests, which must be numbered from 0 in the order in which they are due, as `sim::engine` does: while the
/// server is idle it waits for a request; then it queues all that have arrived, and does one step.
pub(crate) fn run_step_loop(
    limits: SchedulerLimits,
    step_time: &StepTimeModel,
    requests: &[SimulatedRequest],
) -> Vec<LoopAnswer> {
    let mut scheduler = Scheduler::new(limits);
    let mut answers = vec![LoopAnswer::default(); requests.len()];
    let mut arriving = requests.iter().peekable();
    let (mut now, mut step) = (Ticks::ZERO, 0);
    loop {
        if scheduler.is_idle() {
            let Some(request) = arriving.peek() else { return answers };
            now = now.max(request.due);
        }
        while let Some(request) = arriving.next_if(|request| request.due <= now) {
            let SimulatedRequest { index, due, prompt, output, session, contents } = request.clone();
            let shape = SequenceShape { prompt: prompt as usize, output: output as usize, contents };
            scheduler.add(index, shape).expect("the test's requests fit the server");
            let (sent, queued) = (due, due);
            answers[index as usize].answer =
                SimulatedAnswer { index, session, prompt, output, due, sent, queued, ..Default::default() };
        }
        let batch = scheduler.begin_step();
        for admission in batch.admitted.iter().filter(|admission| !admission.resumed) {
            let answer = &mut answers[admission.id as usize].answer;
            (answer.scheduled, answer.cached) = (now, admission.cached as u32);
        }
        for id in &batch.preempted {
            answers[*id as usize].answer.preemptions += 1;
        }
        now += step_time.step_ticks(&batch.work);
        let generated = scheduler.complete_step();
        let batch = generated.len() as u32;
        for token in generated {
            let LoopAnswer { answer, token_steps } = &mut answers[token.id as usize];
            token_steps.push(step);
            if token.first {
                (answer.first_token, answer.first_step, answer.first_batch) = (now, step, batch);
            }
            if token.last {
                (answer.last_token, answer.last_step, answer.last_batch) = (now, step, batch);
            }
        }
        step += 1;
    }
}
