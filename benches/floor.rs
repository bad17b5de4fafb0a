//! The floor: the minimum cost of reading many token streams and recording when each token arrived.
//!
//! One thread uses one epoll and non-blocking sockets. It writes requests, reads the answers, takes a timestamp right
//! after each read, and counts the occurrences of `data: `. It parses no HTTP, no JSON and no tokens. Any cost of a
//! real client beyond this floor is the client's own. `scripts/overhead.sh` runs the floor beside the clients:
//!
//! ```sh
//! cargo run --release --example floor -- 127.0.0.1:8000 STREAMS REQUESTS TOKENS [RATE] > result.json
//! ```
//!
//! STREAMS connections carry REQUESTS requests for TOKENS tokens each, one after the other on each connection. With a
//! RATE, a request is sent every 1/RATE seconds instead, on a free connection, and STREAMS is ignored. The result is
//! one JSON object with the keys of vLLM's client. Latencies are in milliseconds, by the same definitions.

#![allow(clippy::print_stdout, reason = "the result goes to stdout")]

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let mut word = |name: &str| {
        words.next().ok_or(format!("{name} is missing: floor ADDRESS STREAMS REQUESTS TOKENS [RATE]"))
    };
    let address = word("ADDRESS")?.parse()?;
    let plan = floor::Plan {
        address,
        streams: word("STREAMS")?.parse()?,
        requests: word("REQUESTS")?.parse()?,
        tokens: word("TOKENS")?.parse()?,
        rate: word("RATE").ok().map(|rate| rate.parse()).transpose()?,
    };
    println!("{}", floor::run(&plan)?);
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the floor is an epoll loop, and epoll is Linux's");
}

#[cfg(target_os = "linux")]
mod floor {
    use std::io::{self, Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use memchr::memmem;
    use rustix::buffer::spare_capacity;
    use rustix::event::{Timespec, epoll};
    use serde_json::{Value, json};

    /// The first bytes of every event.
    const MARK: &[u8] = b"data: ";
    /// The maximum number of bytes at the end of a read that may be the beginning of a split mark.
    const CARRY: usize = MARK.len() - 1;
    const READ: usize = 64 << 10;

    pub(crate) struct Plan {
        pub address: SocketAddr,
        pub streams: usize,
        pub requests: usize,
        pub tokens: usize,
        /// The number of requests a second; `None` is a closed loop.
        pub rate: Option<f64>,
    }

    /// One connection and its current request.
    struct Stream {
        socket: TcpStream,
        /// The end of the previous read, in which a mark may have begun.
        carry: [u8; CARRY],
        sent: Instant,
        is_new: bool,
        first: Option<Instant>,
        last: Instant,
        events: usize,
    }

    /// The measurements, in nanoseconds.
    #[derive(Default)]
    struct Tally {
        /// How late each scheduled request was sent.
        lags: Vec<u64>,
        ttft: Vec<u64>,
        itl: Vec<u64>,
        e2e: Vec<u64>,
    }

    pub(crate) fn run(plan: &Plan) -> io::Result<Value> {
        match plan.rate {
            None => closed_loop(plan),
            Some(rate) => open_loop(plan, rate),
        }
    }

    fn closed_loop(plan: &Plan) -> io::Result<Value> {
        let request = request(plan);
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (mut streams, mut tally) = (Vec::with_capacity(plan.streams), Tally::default());
        let mut buffer = vec![0; CARRY + READ];
        let mut ready = Vec::with_capacity(1024);
        let start = Instant::now();
        while tally.e2e.len() < plan.requests {
            // Opening hundreds of connections takes longer than the first answers, so the sockets are read in between.
            let opening = streams.len() < plan.streams.min(plan.requests);
            if opening {
                open(&poll, plan, &mut streams)?.send(&request)?;
            }
            ready.clear();
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            epoll::wait(&poll, spare_capacity(&mut ready), opening.then_some(&at_once))?;
            for event in &ready {
                let stream: &mut Stream = &mut streams[event.data.u64() as usize];
                stream.read(&mut buffer, plan.tokens, &mut tally)?;
                // `[DONE]` is an event too.
                if stream.events > plan.tokens {
                    let landed = tally.end(stream);
                    if landed + plan.streams <= plan.requests {
                        stream.send(&request)?;
                    }
                }
            }
        }
        Ok(tally.result(plan, start.elapsed()))
    }

    /// Checks the time after each read.
    fn open_loop(plan: &Plan, rate: f64) -> io::Result<Value> {
        let request = request(plan);
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (mut streams, mut idle, mut tally) = (Vec::new(), Vec::new(), Tally::default());
        let mut buffer = vec![0; CARRY + READ];
        let mut ready = Vec::with_capacity(1024);
        let start = Instant::now();
        let due = |sent: usize| start + Duration::from_secs_f64((sent + 1) as f64 / rate);
        let send_due = |streams: &mut Vec<Stream>, idle: &mut Vec<usize>, tally: &mut Tally| {
            while tally.lags.len() < plan.requests && due(tally.lags.len()) <= Instant::now() {
                tally.lags.push(nanos(due(tally.lags.len()).elapsed()));
                match idle.pop() {
                    Some(index) => streams[index].send(&request)?,
                    None => open(&poll, plan, streams)?.send(&request)?,
                }
            }
            io::Result::Ok(())
        };
        while tally.e2e.len() < plan.requests {
            send_due(&mut streams, &mut idle, &mut tally)?;
            let left = (tally.lags.len() < plan.requests)
                .then(|| due(tally.lags.len()).saturating_duration_since(Instant::now()));
            let left = left.map(|left| Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            });
            ready.clear();
            epoll::wait(&poll, spare_capacity(&mut ready), left.as_ref())?;
            for event in &ready {
                let index = event.data.u64() as usize;
                let stream: &mut Stream = &mut streams[index];
                stream.read(&mut buffer, plan.tokens, &mut tally)?;
                if stream.events > plan.tokens {
                    tally.end(stream);
                    idle.push(index);
                }
                send_due(&mut streams, &mut idle, &mut tally)?;
            }
        }
        Ok(tally.result(plan, start.elapsed()))
    }

    fn open<'s>(poll: &impl AsFd, plan: &Plan, streams: &'s mut Vec<Stream>) -> io::Result<&'s mut Stream> {
        let stream = Stream::open(plan.address)?;
        let index = streams.len();
        epoll::add(poll, &stream.socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        streams.push(stream);
        Ok(&mut streams[index])
    }

    fn request(plan: &Plan) -> Vec<u8> {
        let body = json!({
            "model": "servegauge-sim", "prompt": "word ".repeat(100), "max_tokens": plan.tokens, "ignore_eos": true,
            "stream": true,
        })
        .to_string();
        format!(
            "POST /v1/completions HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            plan.address,
            body.len()
        )
        .into_bytes()
    }

    impl Stream {
        /// Opens a connection. The send time of its first request is the time at which the connection was opened.
        fn open(address: SocketAddr) -> io::Result<Self> {
            let sent = Instant::now();
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            Ok(Self { socket, carry: [0; CARRY], sent, is_new: true, first: None, last: sent, events: 0 })
        }

        fn send(&mut self, request: &[u8]) -> io::Result<()> {
            (self.first, self.events, self.carry) = (None, 0, [0; CARRY]);
            if !std::mem::take(&mut self.is_new) {
                self.sent = Instant::now();
            }
            // The send buffer of an idle socket has space for a whole request.
            self.socket.write_all(request)
        }

        fn read(&mut self, buffer: &mut [u8], tokens: usize, tally: &mut Tally) -> io::Result<()> {
            buffer[..CARRY].copy_from_slice(&self.carry);
            let length = self.socket.read(&mut buffer[CARRY..])?;
            let now = Instant::now();
            if length == 0 {
                return Err(io::Error::other("the server closed the connection"));
            }
            let seen = &buffer[..CARRY + length];
            for _ in memmem::find_iter(seen, MARK) {
                self.events += 1;
                if self.events <= tokens {
                    self.token(now, tally);
                }
            }
            self.carry.copy_from_slice(&seen[length..]);
            Ok(())
        }

        fn token(&mut self, now: Instant, tally: &mut Tally) {
            match self.first {
                None => self.first = Some(now),
                Some(_) => tally.itl.push(nanos(now - self.last)),
            }
            self.last = now;
        }
    }

    impl Tally {
        /// Records the latencies of an ended request and returns the number of ended requests.
        fn end(&mut self, stream: &mut Stream) -> usize {
            self.ttft.extend(stream.first.map(|first| nanos(first - stream.sent)));
            self.e2e.push(nanos(stream.last - stream.sent));
            stream.events = 0;
            self.e2e.len()
        }

        fn result(self, plan: &Plan, took: Duration) -> Value {
            let mut result = json!({
                "completed": self.e2e.len(), "failed": 0, "duration": took.as_secs_f64(),
                "total_output_tokens": self.e2e.len() * plan.tokens,
                "queue_times": self.lags.iter().map(|nanos| *nanos as f64 / 1e9).collect::<Vec<_>>(),
            });
            for (name, mut sample) in [("ttft", self.ttft), ("itl", self.itl), ("e2el", self.e2e)] {
                sample.sort_unstable();
                let mean = sample.iter().sum::<u64>() as f64 / sample.len().max(1) as f64;
                result[format!("mean_{name}_ms")] = json!(mean / 1e6);
                for (key, share) in [("median", 0.5), ("p99", 0.99)] {
                    let rank = (share * sample.len().saturating_sub(1) as f64).round() as usize;
                    let value = sample.get(rank).map(|nanos| *nanos as f64 / 1e6);
                    result[format!("{key}_{name}_ms")] = json!(value);
                }
            }
            result
        }
    }

    fn nanos(duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
    }
}
