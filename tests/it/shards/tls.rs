//! Shards that meet with TLS.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{WORDS, column, start_first};
use crate::support::{Program, Simulator, quick};

/// The flags of every shard. Only shard 0 needs the first two files.
const FLAGS: &str = "--rendezvous-cert cert.pem --rendezvous-key key.pem --rendezvous-ca ca.pem";

fn pem(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A shard, such as 1/2, that meets the others at an address.
fn shard(simulator: &Simulator, shard: &str, address: &str, words: &str) -> Program {
    let load = "--num-prompts 12 --request-rate 60 --shard-timeout 60s";
    simulator.run(&format!("{WORDS} {load} {words} --shard {shard} --rendezvous {address}"))
}

/// Shard 0 with a certificate and its key, and the CA for all shards.
fn with_certificate(program: Program, certificate: &str, key: &str) -> Program {
    program.file("cert.pem", pem(certificate)).file("key.pem", pem(key))
}

/// Shard 0 of two, with the certificate of the test's authority.
fn first_of_two(simulator: &Simulator) -> Program {
    let first = shard(simulator, "0/2", "127.0.0.1:0", &format!("{FLAGS} --json"));
    with_certificate(first, "server.pem", "server.key").file("ca.pem", pem("authority.pem"))
}

/// Shard 1 of two that trusts a certificate.
fn second_of_two(simulator: &Simulator, address: &str, ca_cert: &str) -> Program {
    shard(simulator, "1/2", address, "--rendezvous-ca ca.pem").file("ca.pem", pem(ca_cert))
}

#[test]
fn three_shards_with_one_command_line_measure_one_run() {
    let simulator = Simulator::start(quick());
    let words = format!("{FLAGS} --num-prompts 60 --record-log log.reclog");
    let first = shard(&simulator, "0/3", "127.0.0.1:0", &format!("{words} --save-detailed --out all.json"));
    let first = with_certificate(first, "server.pem", "server.key").file("ca.pem", pem("authority.pem"));
    let (first, address) = start_first(first);
    assert!(address.starts_with("https://127.0.0.1:"), "{address}");
    // Without the scheme, the flags ask for TLS.
    let address = address.trim_start_matches("https://");
    let others = ["1/3", "2/3"]
        .map(|index| shard(&simulator, index, address, &words).file("ca.pem", pem("authority.pem")).start());
    let others = others.map(|other| other.end().with_code(0));
    let first = first.end().with_code(0);
    let result: Value = serde_json::from_slice(&first.bytes("all.json")).unwrap();
    assert_eq!(column(&result, "ordinal"), (0..60).map(Value::from).collect::<Vec<_>>());
    let key = String::from_utf8(pem("server.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    for ended in [&first].into_iter().chain(&others) {
        let has_key = |(name, text): &(String, String)| !name.ends_with("key.pem") && text.contains(secret);
        assert!(!ended.everything().iter().any(has_key), "the key is in no output");
    }
}

#[test]
fn a_self_signed_certificate_is_its_own_ca() {
    let simulator = Simulator::start(quick());
    let flags = "--rendezvous-cert cert.pem --rendezvous-key key.pem --rendezvous-ca cert.pem";
    let first = shard(&simulator, "0/2", "https://127.0.0.1:0", flags);
    let (first, address) = start_first(with_certificate(first, "self.pem", "self.key"));
    shard(&simulator, "1/2", &address, flags).file("cert.pem", pem("self.pem")).end().with_code(0);
    first.end().with_code(0);
}

#[test]
fn without_a_ca_the_systems_are_trusted_and_with_one_they_are_not() {
    let simulator = Simulator::start(quick());
    let (first, address) = start_first(first_of_two(&simulator));
    let system = |program: Program| {
        program.file("system.pem", pem("authority.pem")).env("SSL_CERT_FILE", "system.pem")
    };
    let refused = system(second_of_two(&simulator, &address, "self.pem")).end().with_code(1);
    assert!(refused.stderr.contains("signed by a CA that is not trusted here"), "{}", refused.stderr);
    system(shard(&simulator, "1/2", &address, "")).end().with_code(0);
    first.end().with_code(0);
}

#[test]
fn the_certificates_of_the_documentation_are_accepted() {
    let page = include_str!("../../../docs/many-hosts.md");
    let (_, block) = page.split_once("```text openssl\n").unwrap();
    let script = block.split("```").next().unwrap().replace("DNS:node0", "DNS:localhost");
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("sh").arg("-ec").arg(script).current_dir(folder.path()).output().unwrap();
    if String::from_utf8_lossy(&made.stderr).contains("openssl: not found") {
        eprintln!("skipped: there is no openssl here");
        return;
    }
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let file = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let simulator = Simulator::start(quick());
    let first = shard(&simulator, "0/2", "127.0.0.1:0", FLAGS);
    let (first, address) =
        start_first(first.file("cert.pem", file("tls.crt")).file("key.pem", file("tls.key")));
    let address = address.replace("127.0.0.1", "localhost");
    shard(&simulator, "1/2", &address, FLAGS).file("ca.pem", file("ca.crt")).end().with_code(0);
    first.end().with_code(0);
}

#[test]
fn files_and_flags_that_cannot_be_used_are_named_in_one_line() {
    let simulator = Simulator::start(quick());
    let both = "--rendezvous-cert cert.pem --rendezvous-key key.pem";
    for (words, certificate, key, expected) in [
        ("--rendezvous-cert cert.pem", "", "", "--rendezvous-cert needs --rendezvous-key FILE"),
        ("--rendezvous-key key.pem", "", "", "--rendezvous-key needs --rendezvous-cert FILE"),
        ("--rendezvous-ca cert.pem", "", "", "shard 0 needs a certificate for TLS: give --rendezvous-cert"),
        (
            both,
            "",
            "self.key",
            "cert.pem: No such file or directory; it should be a PEM file with certificates",
        ),
        (
            both,
            "self.pem",
            "",
            "key.pem: No such file or directory; it should be a PEM file with a private key",
        ),
        (both, "README.md", "self.key", "cert.pem: it has none; it should be a PEM file with certificates"),
        (both, "self.pem", "self.pem", "key.pem: it has none; it should be a PEM file with a private key"),
        (both, "self.pem", "server.key", "key.pem is not the private key of cert.pem"),
    ] {
        let mut program = shard(&simulator, "0/2", "127.0.0.1:0", words);
        for (name, content) in [("cert.pem", certificate), ("key.pem", key)] {
            if !content.is_empty() {
                program = program.file(name, pem(content));
            }
        }
        let refused = program.end().with_code(2);
        assert!(refused.stderr.contains(expected), "{words}: {}", refused.stderr);
        assert_eq!(refused.stderr.matches("error: ").count(), 1, "{}", refused.stderr);
    }
    let plain = shard(&simulator, "0/2", "http://127.0.0.1:0", both).end().with_code(2);
    assert!(
        plain.stderr.contains("--rendezvous http://127.0.0.1:0 is an address without TLS"),
        "{}",
        plain.stderr
    );
    let bare = shard(&simulator, "0/2", "https://127.0.0.1:0", "").end().with_code(2);
    assert!(bare.stderr.contains("shard 0 needs a certificate for TLS"), "{}", bare.stderr);
    let local = simulator.run(&format!("{WORDS} --local-shards 2 {both}")).end().with_code(2);
    assert!(local.stderr.contains("--local-shards: the processes of one machine meet"), "{}", local.stderr);
    let other = shard(&simulator, "1/2", "127.0.0.1:9", "--rendezvous-ca none.pem").end().with_code(2);
    assert!(other.stderr.contains("--rendezvous-ca: none.pem: No such file"), "{}", other.stderr);
}

#[test]
fn a_shard_without_tls_is_refused_and_shard_0_says_so() {
    let simulator = Simulator::start(quick());
    let (first, address) = start_first(first_of_two(&simulator));
    let plain = address.replace("https://", "http://");
    let refused = shard(&simulator, "1/2", &plain, "").end().with_code(1);
    let expected =
        "shard 0 requires TLS, and this shard does not use it; write --rendezvous https://HOST:PORT";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    first.wait_for("warning: the client at 127.0.0.1 does not use TLS, which shard 0 requires");
    second_of_two(&simulator, &address, "authority.pem").end().with_code(0);
    first.end().with_code(0);
}

#[test]
fn a_shard_with_tls_is_refused_by_a_shard_0_without_and_it_says_so() {
    let simulator = Simulator::start(quick());
    let (first, address) = start_first(shard(&simulator, "0/2", "127.0.0.1:0", ""));
    let refused = second_of_two(&simulator, &address, "authority.pem").end().with_code(1);
    let expected = "no TLS connection to shard 0: the server does not speak TLS on this port; shard 0 has no TLS: give it \
                    --rendezvous-cert";
    assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    first.wait_for("warning: the client at 127.0.0.1 uses TLS, and shard 0 does not");
    shard(&simulator, "1/2", &address, "").end().with_code(0);
    first.end().with_code(0);
}

#[test]
fn both_shards_say_why_a_certificate_is_not_accepted() {
    let simulator = Simulator::start(quick());
    for (certificate, ca_cert, theirs, ours) in [
        (
            "elsewhere.pem",
            "elsewhere.pem",
            "is not valid for `127.0.0.1`: it is valid for other.internal",
            "bad certificate",
        ),
        ("self.pem", "authority.pem", "is self-signed (CA:TRUE) and not trusted here", "certificate unknown"),
        ("expired.pem", "expired.pem", "has expired", "certificate expired"),
    ] {
        let first = shard(&simulator, "0/2", "127.0.0.1:0", FLAGS);
        let (first, address) = start_first(with_certificate(first, certificate, "self.key"));
        let refused = second_of_two(&simulator, &address, ca_cert).end().with_code(1);
        let expected = format!("no TLS connection to shard 0: the server's certificate {theirs}; ");
        assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
        first.wait_for(&format!("warning: the client at 127.0.0.1 does not accept the certificate ({ours})"));
    }
}

#[test]
fn an_open_port_that_is_fed_garbage_or_nothing_harms_no_run() {
    let simulator = Simulator::start(quick());
    let token = |program: Program, token: &str| program.env("SERVEGAUGE_SHARD_TOKEN", token);
    let (first, address) = start_first(token(first_of_two(&simulator), "sesame-token"));
    let place = address.trim_start_matches("https://");
    let silent = TcpStream::connect(place).unwrap();
    for garbage in [&b"\x16\x03\x01\x02\x00garbage"[..], b"\0\xff\xfe", b"GET / HTTP/1.1\r\n\r\n", b"\x16"] {
        TcpStream::connect(place).unwrap().write_all(garbage).unwrap();
    }
    let second = || second_of_two(&simulator, &address, "authority.pem");
    let refused = token(second(), "guess").end().with_code(1);
    assert!(refused.stderr.contains("token of the shards"), "{}", refused.stderr);
    token(second(), "sesame-token").end().with_code(0);
    drop(silent);
    let first = first.end().with_code(0);
    let result: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(result["completed"], 12);
}
