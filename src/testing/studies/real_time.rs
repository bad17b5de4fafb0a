//! How much of its core a real-time thread uses that never waits. The kernel takes the thread's core away for tens of
//! milliseconds once it has used 95 %.
#![cfg(target_os = "linux")]

use std::time::{Duration, Instant};

use crate::loadgen::priority::{SchedulingClass, raise_this_thread, thread_cpu, yield_cpu_share};
use crate::testing::machine::has_realtime;

/// The largest share, stated before the first run.
const BOUND: f64 = 0.94;

/// The share of its core that the calling thread uses in a time in which it always has work.
async fn share_of(time: Duration) -> f64 {
    let (cpu, start) = (thread_cpu(), Instant::now());
    let busy = async {
        while start.elapsed() < time {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        never = yield_cpu_share(SchedulingClass::RealTime) => match never {},
        () = busy => {}
    }
    (thread_cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement of this machine, which must be quiet: scripts/nightly.sh"]
fn a_busy_real_time_thread_leaves_room() {
    let thread = std::thread::Builder::new().name("real time".to_owned()).spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let is_raised = has_realtime(raise_this_thread());
        is_raised.then(|| [(); 10].map(|()| runtime.block_on(share_of(Duration::from_millis(800)))))
    });
    let Some(mut shares) = thread.unwrap().join().unwrap() else { return };
    shares.sort_by(f64::total_cmp);
    let percent = shares.map(|share| format!("{:.1}", 100.0 * share)).join(", ");
    println!("share of its core, of ten spans of 0.8 s: {percent} %");
    assert!(shares[5] < BOUND, "the median is {:.1} %", 100.0 * shares[5]);
}
