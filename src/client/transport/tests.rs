mod certificates;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::client::clock::RunClock;
use crate::client::request_timer::{Capture, CaptureGaps, CaptureText, RequestSummary, StreamStats};
use crate::model::record::{FinishReason, Milestone};
use crate::testing::machine::kernel_stamps;
use crate::testing::scripted_server::{
    Script, ScriptedServer, json, serve, stream, target, unfinished_stream,
};

const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";
const DONE: &str =
    "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// The delay of the reader.
const LATE: Duration = Duration::from_millis(15);

fn timer(clock: RunClock, stream_stats: &Rc<RefCell<StreamStats>>) -> RequestTimer {
    RequestTimer::new(
        clock,
        Duration::ZERO,
        Capture { text: CaptureText::Never, gaps: CaptureGaps::Always },
        Rc::clone(stream_stats),
    )
}

/// Sends a request with a body and returns its summary. The time limit only keeps a broken test from hanging.
async fn send(transport: &Transport, body: Bytes) -> RequestSummary {
    let mut timer = timer(RunClock::start(), &Rc::default());
    let sending = transport.send("bench-7".into(), body, &mut timer, |_| {});
    let sent = timeout(Duration::from_secs(60), sending).await.expect("the client waits for nothing");
    timer.finish(sent)
}

async fn ask(transport: &Transport) -> RequestSummary {
    send(transport, "{}".into()).await
}

fn answers(count: usize) -> Script {
    Script::Answers(vec![stream(&[TOKEN, DONE]); count])
}

mod stamps {
    use super::*;

    const EVENTS: usize = 5;

    /// The turns of the server and a delayed client: the server writes an event, then the client's thread sleeps.
    struct Turns {
        /// The time just before an event is written.
        written: Receiver<Instant>,
        next: Sender<()>,
    }

    /// Serves one stream. It writes each event when `next` requests it.
    fn serve_in_turns() -> (u16, Turns) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, written) = channel();
        let (next, word) = channel();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 4096]).unwrap();
            socket.write_all(unfinished_stream(&[]).as_bytes()).unwrap();
            for _ in 0..EVENTS {
                word.recv().unwrap();
                let before = Instant::now();
                socket.write_all(format!("{:x}\r\n{TOKEN}\r\n", TOKEN.len()).as_bytes()).unwrap();
                tell.send(before).unwrap();
            }
            let end = format!("{:x}\r\n{DONE}\r\n0\r\n\r\n", DONE.len());
            socket.write_all(end.as_bytes()).unwrap();
        });
        (port, Turns { written, next })
    }

    /// Delays the client's thread, so that it reads each event a while after it was written. Returns two instants for
    /// each event: just before the write, and when the client may read it.
    async fn hinder(turns: Turns, reads: impl Fn() -> u64) -> Vec<(Instant, Instant)> {
        let mut instants = Vec::new();
        while reads() == 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..EVENTS {
            let before = reads();
            turns.next.send(()).unwrap();
            let written = turns.written.recv().unwrap();
            thread::sleep(LATE);
            instants.push((written, Instant::now()));
            while reads() == before {
                tokio::task::yield_now().await;
            }
        }
        instants
    }

    /// The offsets of all output events, and those of their two instants. `None` if the kernel has no timestamps.
    async fn late_reader(kernel_stamps: bool) -> Option<Vec<[Duration; 3]>> {
        let (port, turns) = serve_in_turns();
        let mut target = target("http", port);
        target.connection.kernel_stamps = kernel_stamps;
        let transport = Transport::new(&target, 0).unwrap();
        if kernel_stamps && transport.timestamp_source() == TimestampSource::Reader {
            return None;
        }
        let (clock, stream_stats) = (RunClock::start(), Rc::default());
        let mut timer = timer(clock, &stream_stats);
        let reads = || stream_stats.borrow().read_delay.len() + stream_stats.borrow().unstamped;
        let sending = transport.send("bench-7".into(), "{}".into(), &mut timer, |_| {});
        let (sent, instants) = tokio::join!(sending, hinder(turns, reads));
        let story = timer.finish(sent);
        let mut at = story.times.first_token().unwrap();
        let later = story.events.gaps.iter().flatten().map(|gap| {
            at += gap;
            at
        });
        let times: Vec<_> = story.times.first_token().into_iter().chain(later).collect();
        assert_eq!((times.len(), stream_stats.borrow().shared), (EVENTS, 0));
        let instants =
            instants.iter().map(|(written, free)| [clock.offset_of(*written), clock.offset_of(*free)]);
        Some(times.into_iter().zip(instants).map(|(at, [written, free])| [written, at, free]).collect())
    }

    #[tokio::test]
    async fn a_late_reader_reports_the_times_of_the_wire() {
        let Some(events) = kernel_stamps(late_reader(true).await) else { return };
        assert_eq!(events.len(), EVENTS);
        for [written, at, free] in events {
            let slack = Duration::from_micros(200);
            assert!(
                written <= at + slack && at < free,
                "written {written:?}, told {at:?}, read after {free:?}"
            );
        }
    }

    #[tokio::test]
    async fn without_kernel_stamps_a_late_reader_reports_its_own_times() {
        for [_, at, free] in late_reader(false).await.unwrap() {
            assert!(at >= free);
        }
    }
}

#[tokio::test]
async fn a_new_connections_steps_have_their_times_and_a_kept_ones_have_none() {
    let stage = serve(vec![answers(2)]);
    let mut target = stage.target();
    target.base_url = target.base_url.replace("127.0.0.1", "localhost");
    let transport = Transport::new(&target, 8).unwrap();
    let times = ask(&transport).await.times;
    let steps = [
        times.sent(),
        times.get(Milestone::Resolved),
        times.get(Milestone::Connected),
        times.get(Milestone::Written),
        times.get(Milestone::Headers),
    ];
    assert!(steps.iter().all(Option::is_some) && steps.is_sorted(), "{times:?}");
    let kept = ask(&transport).await.times;
    for milestone in [Milestone::Resolved, Milestone::Connected, Milestone::Secured] {
        assert_eq!(kept.get(milestone), None);
    }
    let written = kept.get(Milestone::Written);
    assert!(written >= kept.sent() && kept.get(Milestone::Headers).is_some(), "{kept:?}");
}

#[tokio::test]
async fn connections_opened_beforehand_are_used() {
    let stage = serve(vec![answers(1), answers(1)]);
    let transport = Transport::new(&stage.target(), 0).unwrap();
    transport.preconnect(2).await.unwrap();
    for _ in 0..2 {
        let story = ask(&transport).await;
        assert_eq!((story.outcome, story.times.get(Milestone::Connected)), (Ok(FinishReason::Stop), None));
    }
}

#[tokio::test]
async fn without_keepalive_each_request_has_its_connection() {
    let stage = serve(vec![answers(2), answers(2)]);
    let mut target = stage.target();
    target.connection.keepalive = false;
    let transport = Transport::new(&target, 8).unwrap();
    for _ in 0..2 {
        let story = ask(&transport).await;
        assert!(story.outcome.is_ok() && story.times.get(Milestone::Connected).is_some());
    }
    // The end of the first connection appears as an empty request.
    let requests: Vec<_> = stage.requests().into_iter().filter(|request| !request.is_empty()).collect();
    assert!(requests.iter().all(|request| request.contains("\r\nconnection: close\r\n")), "{requests:?}");
}

#[tokio::test]
async fn a_kept_connection_that_closes_under_a_request_is_named_and_not_tried_again() {
    let stage = serve(vec![Script::Answers(vec![stream(&[TOKEN, DONE]), String::new()]), answers(1)]);
    let transport = Transport::new(&stage.target(), 8).unwrap();
    assert!(ask(&transport).await.outcome.is_ok());
    let failure = ask(&transport).await.outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::BrokenStream);
    assert!(
        failure.detail.contains(
            "without an answer (the server closed a connection that it had kept open after an earlier answer, idle for"
        ),
        "{failure}"
    );
    assert_eq!(stage.requests().len(), 2);
}

/// uvicorn answers an exception of the application with 500 and then closes the connection, without announcing it.
#[tokio::test]
async fn after_an_error_of_the_server_its_connection_is_not_used_again() {
    let error = || Script::Answers(vec![json("500 Internal Server Error", "oops")]);
    let stage = serve(vec![error(), error(), Script::Answers(vec![json("429 Too Many", "later"); 2])]);
    let transport = Transport::new(&stage.target(), 8).unwrap();
    for (status, is_new) in [(500, true), (500, true), (429, true), (429, false)] {
        let summary = ask(&transport).await;
        assert_eq!(summary.outcome.unwrap_err().class, FailureClass::Status(status));
        assert_eq!(summary.times.get(Milestone::Connected).is_some(), is_new, "{status}");
    }
}

#[tokio::test]
async fn a_refusal_before_the_request_is_read_is_told() {
    let stage = serve(vec![Script::EarlyReply(json("413 Payload Too Large", "too long"))]);
    let transport = Transport::new(&stage.target(), 8).unwrap();
    let failure = send(&transport, vec![b'x'; 16 << 20].into()).await.outcome.unwrap_err();
    assert_eq!((failure.class, failure.detail.as_str()), (FailureClass::Status(413), "too long"));
    assert!(transport.pool.borrow_mut().take().is_none(), "half a request is no ground for another");
}

#[tokio::test]
async fn a_server_that_never_shakes_hands_is_waited_for_in_the_connect_phase() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut target = target("https", listener.local_addr().unwrap().port());
    target.insecure = true;
    let transport = Transport::new(&target, 8).unwrap();
    let mut timer = timer(RunClock::start(), &Rc::default());
    let sending = transport.send("bench-7".into(), "{}".into(), &mut timer, |_| {});
    assert!(timeout(Duration::from_millis(50), sending).await.is_err());
    assert_eq!(timer.phase(), TimeoutPhase::Connect);
}

#[tokio::test]
async fn a_server_that_forgets_the_end_of_its_chunks_holds_up_nobody() {
    let stage = serve(vec![Script::Open(unfinished_stream(&[TOKEN, DONE]))]);
    let transport = Transport::new(&stage.target(), 8).unwrap();
    let mut timer = timer(RunClock::start(), &Rc::default());
    let mut settled = None;
    let sending = transport.send("bench-7".into(), "{}".into(), &mut timer, |at| settled = Some(at));
    assert!(timeout(DRAIN_TIMEOUT / 2, sending).await.is_err(), "the connection may yet be used again");
    let story = timer.finish(Ok(()));
    assert_eq!((settled, story.outcome), (story.times.done(), Ok(FinishReason::Stop)));
    assert_eq!(
        story.times.done(),
        story.times.last_token(),
        "the last byte's time, as it came in the same read"
    );
}

mod proxy {
    use super::*;

    /// A proxy that is a test server, and a target that only the proxy can resolve.
    fn through(stage: &ScriptedServer, base_url: &str) -> (Proxy, Target) {
        let url: reqwest::Url = stage.target().base_url.parse().unwrap();
        let authorization = Some("Basic YTpi".parse().unwrap());
        let proxy = Proxy { host: "127.0.0.1".into(), port: url.port().unwrap(), authorization };
        (proxy, Target { base_url: base_url.into(), insecure: true, ..stage.target() })
    }

    #[tokio::test]
    async fn http_goes_through_a_proxy_by_its_whole_url() {
        let stage = serve(vec![answers(1)]);
        let (proxy, target) = through(&stage, "http://gpu.internal:8000");
        let transport = Transport::with_proxy(Some(&proxy), &target, 8).unwrap();
        assert!(ask(&transport).await.outcome.is_ok());
        let request = stage.requests().remove(0);
        assert!(
            request.starts_with("POST http://gpu.internal:8000/v1/completions HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("\r\nhost: gpu.internal:8000\r\n"), "{request}");
        assert!(request.contains("\r\nproxy-authorization: Basic YTpi\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_proxy_that_refuses_the_tunnel_is_no_connection() {
        for (answer, cause) in [
            ("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", "HTTP 407"),
            ("", "closed the connection"),
            ("what?\r\n\r\n", "not an HTTP/1.1 response"),
        ] {
            let stage = serve(vec![Script::Answers(vec![answer.to_owned()])]);
            let (proxy, target) = through(&stage, "https://gpu.internal");
            let transport = Transport::with_proxy(Some(&proxy), &target, 8).unwrap();
            let failure = ask(&transport).await.outcome.unwrap_err();
            assert_eq!(failure.class, FailureClass::Connect);
            assert!(failure.detail.contains(cause), "{failure}");
            let request = stage.requests().remove(0);
            assert!(request.starts_with("CONNECT gpu.internal:443 HTTP/1.1\r\nhost: gpu.internal:443\r\n"));
            assert!(request.contains("proxy-authorization: Basic YTpi"), "{request}");
        }
    }

    #[tokio::test]
    async fn https_goes_through_a_proxys_tunnel() {
        let server =
            secure::serve(secure::config(false), Some("HTTP/1.1 200 Connection Established\r\n\r\n"));
        let proxy = Proxy { host: "127.0.0.1".into(), port: server, authorization: None };
        let mut target = target("https", 1);
        target.base_url = "https://gpu.internal".into();
        target.connection.ca_cert = Some(secure::file("authority.pem"));
        let transport = Transport::with_proxy(Some(&proxy), &target, 8).unwrap();
        assert_eq!(ask(&transport).await.outcome, Ok(FinishReason::Stop));
    }
}

mod secure {
    use std::path::PathBuf;

    use super::*;

    pub(super) fn file(name: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls")).join(name)
    }

    /// The test server's TLS configuration, which may require a client certificate.
    pub(super) fn config(demanding: bool) -> ServerConfig {
        crate::client::tls::install_provider();
        let certificate = |name| CertificateDer::from_pem_file(file(name)).unwrap();
        let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
        let builder = ServerConfig::builder();
        let builder = if demanding {
            let mut roots = RootCertStore::empty();
            roots.add(certificate("authority.pem")).unwrap();
            builder.with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        builder.with_single_cert(vec![certificate("server.pem")], key).unwrap()
    }

    /// Serves two answers on one connection, after a proxy's success response if `consent` holds one. Returns the port.
    pub(super) fn serve(config: ServerConfig, consent: Option<&'static str>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            if let Some(consent) = consent {
                let _ = socket.read(&mut [0; 4096]);
                socket.write_all(consent.as_bytes()).unwrap();
            }
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), socket);
            for _ in 0..2 {
                // A client may reject the certificate and close the connection.
                if !matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
                    return;
                }
                let _ = stream.write_all(super::stream(&[TOKEN, TOKEN, DONE]).as_bytes());
            }
        });
        port
    }

    pub(super) fn trusting(port: u16) -> Target {
        let mut target = target("https", port);
        target.connection.ca_cert = Some(file("authority.pem"));
        target
    }

    #[tokio::test]
    async fn a_server_of_a_trusted_authority_is_asked_and_its_connection_kept() {
        let transport = Transport::new(&trusting(serve(config(false), None)), 8).unwrap();
        let first = ask(&transport).await;
        assert_eq!(first.outcome, Ok(FinishReason::Stop));
        assert!(
            first.times.get(Milestone::Secured) >= first.times.get(Milestone::Connected)
                && first.times.get(Milestone::Secured).is_some()
        );
        let second = ask(&transport).await;
        assert_eq!((second.outcome, second.times.get(Milestone::Secured)), (Ok(FinishReason::Stop), None));
    }

    #[tokio::test]
    async fn tickets_for_later_handshakes_do_not_spoil_a_connection() {
        let transport = Transport::new(&trusting(serve(config(false), None)), 8).unwrap();
        transport.preconnect(1).await.unwrap();
        let Some(PooledConnection { mut link, .. }) = transport.pool.borrow_mut().take() else {
            panic!("it is new")
        };
        let has_bytes = |link: &HttpConnection| matches!(link, HttpConnection::Secured(stream) if !stream.get_ref().0.is_idle());
        while !has_bytes(&link) {
            tokio::task::yield_now().await;
        }
        assert!(link.is_idle());
        transport.pool.borrow_mut().add(link);
        let story = ask(&transport).await;
        assert_eq!((story.outcome, story.times.get(Milestone::Secured)), (Ok(FinishReason::Stop), None));
    }

    #[tokio::test]
    async fn tls_reads_have_the_kernels_stamps() {
        let transport = Transport::new(&trusting(serve(config(false), None)), 8).unwrap();
        let stamps = (transport.timestamp_source() == TimestampSource::Kernel).then_some(());
        if kernel_stamps(stamps).is_none() {
            return;
        }
        let stream_stats = Rc::default();
        let mut timer = timer(RunClock::start(), &stream_stats);
        transport.send("bench-7".into(), "{}".into(), &mut timer, |_| {}).await.unwrap();
        let stream_stats = stream_stats.borrow();
        assert!(!stream_stats.read_delay.is_empty(), "{} reads without a stamp", stream_stats.unstamped);
    }

    #[tokio::test]
    async fn a_server_of_an_unknown_authority_is_refused_unless_anybody_will_do() {
        let mut target = target("https", serve(config(false), None));
        let failure = ask(&Transport::new(&target, 8).unwrap()).await.outcome.unwrap_err();
        assert_eq!(failure.class, FailureClass::Tls, "{failure}");
        assert!(failure.detail.contains("certificate"), "{failure}");
        target = super::target("https", serve(config(false), None));
        target.insecure = true;
        assert!(ask(&Transport::new(&target, 8).unwrap()).await.outcome.is_ok());
    }

    #[tokio::test]
    async fn a_server_that_demands_a_certificate_gets_ours() {
        let mut target = trusting(serve(config(true), None));
        target.connection.client_cert = Some(file("client.pem"));
        target.connection.client_key = Some(file("client.key"));
        assert!(ask(&Transport::new(&target, 8).unwrap()).await.outcome.is_ok());
        let without = Transport::new(&trusting(serve(config(true), None)), 8).unwrap();
        assert!(ask(&without).await.outcome.is_err());
    }

    #[test]
    fn a_certificate_file_that_is_none_is_named() {
        for (ca_cert, cert, key, part) in [
            (Some("nothing.pem"), None, None, "nothing.pem"),
            (Some("README.md"), None, None, "README.md"),
            (None, Some("client.pem"), Some("authority.pem"), "a private key"),
            (None, Some("client.pem"), Some("server.key"), "the client certificate with its key"),
            (None, Some("client.pem"), None, "`target.connection.client_key`"),
        ] {
            let mut target = target("https", 1);
            let connection = &mut target.connection;
            (connection.ca_cert, connection.client_cert, connection.client_key) =
                (ca_cert.map(file), cert.map(file), key.map(file));
            let error = Transport::new(&target, 8).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
