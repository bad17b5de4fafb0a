use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;

use tokio::io::AsyncReadExt;

use super::*;
use crate::client::clock::WallClockMapper;
use crate::testing::machine::kernel_stamps;

/// The delay of the reader.
const LATE: Duration = Duration::from_millis(15);

/// Connects a pair of streams and waits until timestamps arrive, which is a moment after they are enabled.
async fn stamped_pair() -> Option<(TimestampedStream, TcpStream, RxTimestampGuard)> {
    let stamping = RxTimestampGuard::start()?;
    let (mut ours, mut theirs) = pair().await;
    for _ in 0..1000 {
        theirs.write_all(b"x").unwrap();
        ours.read_exact(&mut [0]).await.unwrap();
        if ours.last_read_time().stamp.is_some() {
            return Some((ours, theirs, stamping));
        }
        sleep(Duration::from_millis(1));
    }
    panic!("the kernel took the question and never answers");
}

#[tokio::test]
async fn a_late_reader_is_told_when_the_bytes_were_there() {
    let Some((mut ours, mut theirs, _stamping)) = kernel_stamps(stamped_pair().await) else { return };
    let wall = WallClockMapper::default();
    for _ in 0..5 {
        let written = Instant::now();
        theirs.write_all(b"event").unwrap();
        sleep(LATE);
        let freed = Instant::now();
        ours.read_exact(&mut [0; 5]).await.unwrap();
        let reading = ours.last_read_time();
        let at = wall.instant(reading.stamp.unwrap(), reading.read);
        assert!(at + Duration::from_micros(200) >= written, "{:?} before it was written", written - at);
        assert!(at < freed, "the time is the kernel's, not that of our late read");
        assert!(reading.read >= freed);
    }
}

#[tokio::test]
async fn a_reader_later_than_the_next_write_gets_the_last_ones_time() {
    let Some((mut ours, mut theirs, _stamping)) = kernel_stamps(stamped_pair().await) else { return };
    let wall = WallClockMapper::default();
    let mut written = Instant::now();
    for _ in 0..3 {
        sleep(LATE);
        written = Instant::now();
        theirs.write_all(b"event").unwrap();
    }
    let mut stamps = Vec::new();
    for _ in 0..3 {
        ours.read_exact(&mut [0; 5]).await.unwrap();
        stamps.push(ours.last_read_time().stamp.unwrap());
    }
    // Whether the first two events keep their own timestamps depends on the kernel. A kernel that merges segments gives
    // them the last one's.
    assert!(stamps.is_sorted());
    let at = wall.instant(stamps[2], ours.last_read_time().read);
    assert!(at + Duration::from_micros(200) >= written);
}

/// The properties of every stream, with and without kernel timestamps.
macro_rules! of_every_stream {
    ($($name:ident),*) => { $(mod $name {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};

        use super::super::$name::TimestampedStream;
        use super::*;

        /// A connection: the client's end, with timestamps, and the server's end.
        pub(super) async fn pair() -> (TimestampedStream, TcpStream) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let ours = TimestampedStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (theirs, _) = listener.accept().unwrap();
            theirs.set_nodelay(true).unwrap();
            (ours, theirs)
        }

        #[tokio::test]
        async fn a_read_has_the_time_at_which_it_returned() {
            let (mut ours, mut theirs) = pair().await;
            for _ in 0..3 {
                let before = Instant::now();
                theirs.write_all(b"event").unwrap();
                ours.read_exact(&mut [0; 5]).await.unwrap();
                assert!(before <= ours.last_read_time().read && ours.last_read_time().read <= Instant::now());
            }
        }

        #[tokio::test]
        async fn an_end_and_unasked_bytes_are_not_quiet() {
            let (ours, mut theirs) = pair().await;
            assert!(ours.is_idle());
            theirs.write_all(b"x").unwrap();
            while ours.is_idle() {
                tokio::task::yield_now().await;
            }
            let (ours, theirs) = pair().await;
            drop(theirs);
            while ours.is_idle() {
                tokio::task::yield_now().await;
            }
        }

        #[tokio::test]
        async fn what_the_socket_cannot_take_waits_for_room() {
            let (mut ours, mut theirs) = pair().await;
            let bytes = vec![7; 8 << 20];
            let reader = std::thread::spawn(move || {
                sleep(LATE);
                let mut all = Vec::new();
                std::io::Read::read_to_end(&mut theirs, &mut all).unwrap();
                all.len()
            });
            ours.write_all(&bytes).await.unwrap();
            ours.shutdown().await.unwrap();
            assert_eq!(reader.join().unwrap(), bytes.len());
        }
    })* };
}

#[cfg(target_os = "linux")]
of_every_stream!(linux);
of_every_stream!(other);

#[cfg(target_os = "linux")]
use self::linux::pair;
#[cfg(not(target_os = "linux"))]
use self::other::pair;

#[test]
fn where_the_kernel_has_no_stamps_there_is_nothing_to_ask_for() {
    assert!(super::other::RxTimestampGuard::start().is_none());
}
