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
use crate::core::record::Finish;
use crate::drive::client::stage::{Scene, Stage, json, play, stream, target, unfinished_stream};
use crate::drive::client::stopwatch::{Keep, KeepGaps, KeepText, Meters, Story};
use crate::drive::clock::Clock;

const TOKEN: &str = "data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// How late the reader is made.
const LATE: Duration = Duration::from_millis(15);

fn watch(clock: Clock, meters: &Rc<RefCell<Meters>>) -> Stopwatch {
    Stopwatch::new(
        clock,
        Duration::ZERO,
        Keep { text: KeepText::Never, gaps: KeepGaps::Always },
        Rc::clone(meters),
    )
}

/// Sends a request with a body and concludes it. The limit only keeps a broken test from hanging.
async fn send(transport: &Transport, body: Bytes) -> Story {
    let mut watch = watch(Clock::start(), &Rc::default());
    let sending = transport.send("bench-7".into(), body, &mut watch, |_| {});
    let sent = timeout(Duration::from_secs(60), sending).await.expect("the client waits for nothing");
    watch.conclude(sent)
}

async fn ask(transport: &Transport) -> Story {
    send(transport, "{}".into()).await
}

fn answers(count: usize) -> Scene {
    Scene::Answers(vec![stream(&[TOKEN, DONE]); count])
}

mod stamps {
    use super::*;

    const EVENTS: usize = 5;

    /// What the server and a hindered client do in turn: the server writes an event, the client's thread sleeps.
    struct Turns {
        /// When an event was about to be written.
        written: Receiver<Instant>,
        next: Sender<()>,
    }

    /// Serves one stream, an event at a time, each after the word.
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

    /// Keeps the client's thread from reading each event until a while after it was written. Returns the event's two
    /// instants: about to be written, and free to be read.
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

    /// The offsets of all output events, and of their two instants. `None` where the kernel has no stamps.
    async fn late_reader(kernel_stamps: bool) -> Option<Vec<[Duration; 3]>> {
        let (port, turns) = serve_in_turns();
        let mut target = target("http", port);
        target.connection.kernel_stamps = kernel_stamps;
        let transport = Transport::new(&target, 0).unwrap();
        if kernel_stamps && transport.stamps() == Stamps::Reader {
            return None;
        }
        let (clock, meters) = (Clock::start(), Rc::default());
        let mut watch = watch(clock, &meters);
        let reads = || meters.borrow().read_delay.len() + meters.borrow().unstamped;
        let sending = transport.send("bench-7".into(), "{}".into(), &mut watch, |_| {});
        let (sent, instants) = tokio::join!(sending, hinder(turns, reads));
        let story = watch.conclude(sent);
        let mut at = story.times.first_token.unwrap();
        let later = story.events.gaps.unwrap().into_iter().map(|gap| {
            at += gap;
            at
        });
        let times: Vec<_> = story.times.first_token.into_iter().chain(later).collect();
        assert_eq!((times.len(), meters.borrow().shared), (EVENTS, 0));
        let instants = instants.iter().map(|(written, free)| [clock.at(*written), clock.at(*free)]);
        Some(times.into_iter().zip(instants).map(|(at, [written, free])| [written, at, free]).collect())
    }

    #[tokio::test]
    async fn a_late_reader_reports_the_times_of_the_wire() {
        for [written, at, free] in late_reader(true).await.unwrap_or_default() {
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
    let stage = play(vec![answers(2)]);
    let mut target = stage.target();
    target.base_url = target.base_url.replace("127.0.0.1", "localhost");
    let transport = Transport::new(&target, 8).unwrap();
    let times = ask(&transport).await.times;
    let steps = [times.sent, times.resolved, times.connected, times.written, times.headers];
    assert!(steps.iter().all(Option::is_some) && steps.is_sorted(), "{times:?}");
    let kept = ask(&transport).await.times;
    assert_eq!((kept.resolved, kept.connected, kept.secured), (None, None, None));
    assert!(kept.written >= kept.sent && kept.headers.is_some(), "{kept:?}");
}

#[tokio::test]
async fn connections_opened_beforehand_are_used() {
    let stage = play(vec![answers(1), answers(1)]);
    let transport = Transport::new(&stage.target(), 0).unwrap();
    transport.preconnect(2).await.unwrap();
    for _ in 0..2 {
        let story = ask(&transport).await;
        assert_eq!((story.outcome, story.times.connected), (Ok(Finish::Unsaid), None));
    }
}

#[tokio::test]
async fn without_keepalive_each_request_has_its_connection() {
    let stage = play(vec![answers(2), answers(2)]);
    let mut target = stage.target();
    target.connection.keepalive = false;
    let transport = Transport::new(&target, 8).unwrap();
    for _ in 0..2 {
        let story = ask(&transport).await;
        assert!(story.outcome.is_ok() && story.times.connected.is_some());
    }
    // The first connection's end counts as an empty request.
    let requests: Vec<_> = stage.requests().into_iter().filter(|request| !request.is_empty()).collect();
    assert!(requests.iter().all(|request| request.contains("\r\nconnection: close\r\n")), "{requests:?}");
}

#[tokio::test]
async fn a_kept_connection_that_closes_under_a_request_is_named_and_not_tried_again() {
    let stage = play(vec![Scene::Answers(vec![stream(&[TOKEN, DONE]), String::new()]), answers(1)]);
    let transport = Transport::new(&stage.target(), 8).unwrap();
    assert!(ask(&transport).await.outcome.is_ok());
    let failure = ask(&transport).await.outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::BrokenStream);
    assert!(
        failure.detail.contains("without an answer (on a connection that had been idle for"),
        "{failure}"
    );
    assert_eq!(stage.requests().len(), 2);
}

#[tokio::test]
async fn a_refusal_before_the_request_is_read_is_told() {
    let stage = play(vec![Scene::Hasty(json("413 Payload Too Large", "too long"))]);
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
    let mut watch = watch(Clock::start(), &Rc::default());
    let sending = transport.send("bench-7".into(), "{}".into(), &mut watch, |_| {});
    assert!(timeout(Duration::from_millis(50), sending).await.is_err());
    assert_eq!(watch.phase(), Phase::Connect);
}

#[tokio::test]
async fn a_server_that_forgets_the_end_of_its_chunks_holds_up_nobody() {
    let stage = play(vec![Scene::Open(unfinished_stream(&[TOKEN, DONE]))]);
    let transport = Transport::new(&stage.target(), 8).unwrap();
    let mut watch = watch(Clock::start(), &Rc::default());
    let mut settled = None;
    let sending = transport.send("bench-7".into(), "{}".into(), &mut watch, |at| settled = Some(at));
    assert!(timeout(LEFTOVER_WAIT / 2, sending).await.is_err(), "the connection may yet be used again");
    let story = watch.conclude(Ok(()));
    assert_eq!((settled, story.outcome), (story.times.done, Ok(Finish::Unsaid)));
    assert_eq!(story.times.done, story.times.last_token, "the last byte's time, as it came in the same read");
}

mod proxy {
    use super::*;

    /// A proxy that is a server of ours, and a target that only it can find.
    fn through(stage: &Stage, base_url: &str) -> (Proxy, Target) {
        let url: reqwest::Url = stage.target().base_url.parse().unwrap();
        let authorization = Some("Basic YTpi".parse().unwrap());
        let proxy = Proxy { host: "127.0.0.1".into(), port: url.port().unwrap(), authorization };
        (proxy, Target { base_url: base_url.into(), insecure: true, ..stage.target() })
    }

    #[tokio::test]
    async fn http_goes_through_a_proxy_by_its_whole_url() {
        let stage = play(vec![answers(1)]);
        let (proxy, target) = through(&stage, "http://gpu.internal:8000");
        let transport = Transport::through(Some(&proxy), &target, 8).unwrap();
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
            let stage = play(vec![Scene::Answers(vec![answer.to_owned()])]);
            let (proxy, target) = through(&stage, "https://gpu.internal");
            let transport = Transport::through(Some(&proxy), &target, 8).unwrap();
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
        let transport = Transport::through(Some(&proxy), &target, 8).unwrap();
        assert_eq!(ask(&transport).await.outcome, Ok(Finish::Unsaid));
    }
}

mod secure {
    use std::path::PathBuf;

    use super::*;

    pub fn file(name: &str) -> PathBuf {
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls")).join(name)
    }

    /// The test server's TLS, which may demand a client's certificate.
    pub fn config(demanding: bool) -> ServerConfig {
        crate::drive::tls::install_provider();
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

    /// Serves two answers on one connection, after a proxy's consent if there is to be one. Returns the port.
    pub fn serve(config: ServerConfig, consent: Option<&'static str>) -> u16 {
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
                // A client that does not like our certificate is gone: that is its right.
                if !matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
                    return;
                }
                let _ = stream.write_all(super::stream(&[TOKEN, TOKEN, DONE]).as_bytes());
            }
        });
        port
    }

    fn trusting(port: u16) -> Target {
        let mut target = target("https", port);
        target.connection.ca_cert = Some(file("authority.pem"));
        target
    }

    #[tokio::test]
    async fn a_server_of_a_trusted_authority_is_asked_and_its_connection_kept() {
        let transport = Transport::new(&trusting(serve(config(false), None)), 8).unwrap();
        let first = ask(&transport).await;
        assert_eq!(first.outcome, Ok(Finish::Unsaid));
        assert!(first.times.secured >= first.times.connected && first.times.secured.is_some());
        let second = ask(&transport).await;
        assert_eq!((second.outcome, second.times.secured), (Ok(Finish::Unsaid), None));
    }

    #[tokio::test]
    async fn tickets_for_later_handshakes_do_not_spoil_a_connection() {
        let transport = Transport::new(&trusting(serve(config(false), None)), 8).unwrap();
        transport.preconnect(1).await.unwrap();
        let Some(Taken { mut link, .. }) = transport.pool.borrow_mut().take() else { panic!("it is new") };
        let has_bytes = |link: &Link| matches!(link, Link::Secured(stream) if !stream.get_ref().0.is_quiet());
        while !has_bytes(&link) {
            tokio::task::yield_now().await;
        }
        assert!(link.is_quiet());
        transport.pool.borrow_mut().add(link);
        let story = ask(&transport).await;
        assert_eq!((story.outcome, story.times.secured), (Ok(Finish::Unsaid), None));
    }

    #[tokio::test]
    async fn tls_reads_have_the_kernels_stamps() {
        let transport = Transport::new(&trusting(serve(config(false), None)), 8).unwrap();
        let meters = Rc::default();
        let mut watch = watch(Clock::start(), &meters);
        transport.send("bench-7".into(), "{}".into(), &mut watch, |_| {}).await.unwrap();
        let meters = meters.borrow();
        let stamped =
            if transport.stamps() == Stamps::Kernel { meters.read_delay.len() } else { meters.unstamped };
        assert!(stamped > 0);
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
            (None, Some("client.pem"), None, "--client-key"),
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
