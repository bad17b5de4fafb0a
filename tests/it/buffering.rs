//! A gateway that buffers does not make a server faster: what a run, `compare` and `gate` report about it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::support::{Program, Simulator, quick, steps};

/// The bytes that nginx holds back by default.
const BUFFER: usize = 4096;

/// Longer than the server is silent between two events.
const SILENCE: Duration = Duration::from_millis(300);

const LOAD: &str = "run --allow-invalid --model some-model --dataset-name random --rng native --random-input-len 8 \
                    --random-output-len 64 --ignore-eos --num-prompts 20 --request-rate 20 --skip-tokenizer-init \
                    --no-server-metrics --save-detailed";

/// A gateway that hands on what the server sends when a buffer is full, or the server has nothing more to say.
struct Buffering {
    runtime: Runtime,
    url: String,
}

impl Buffering {
    fn before(server: &Simulator) -> Self {
        let upstream = server.base_url().trim_start_matches("http://").to_owned();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, upstream.clone()));
            }
        });
        Self { runtime, url }
    }
}

async fn pass(client: TcpStream, upstream: String) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(upstream).await?.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut held = Vec::new();
    let mut piece = [0; BUFFER];
    loop {
        match timeout(SILENCE, from_server.read(&mut piece)).await {
            Ok(read) => match read? {
                0 => return to_client.write_all(&held).await,
                bytes => held.extend_from_slice(&piece[..bytes]),
            },
            Err(_) => {
                to_client.write_all(&held).await?;
                held.clear();
            }
        }
        if held.len() >= BUFFER {
            to_client.write_all(&held).await?;
            held.clear();
        }
    }
}

/// Runs direct and through the gateway, without what a busy machine has to say of them.
fn direct_and_buffered() -> [Value; 2] {
    let simulator =
        Simulator::start(servegauge::sim::SimSpec { timing: steps(Duration::from_millis(10)), ..quick() });
    let gateway = Buffering::before(&simulator);
    let direct = measured(&simulator.base_url());
    let buffered = measured(&gateway.url);
    gateway.runtime.shutdown_background();
    [direct, buffered]
}

fn measured(url: &str) -> Value {
    let mut run = Program::new(&format!("{LOAD} --base-url {url}")).end().well().result();
    let validity = &mut run["servegauge"]["validity"];
    let checks = validity["checks"].as_array_mut().unwrap();
    let busy = |check: &&mut Value| check["name"] != "bursts" && check["outcome"] == "invalid";
    checks.iter_mut().filter(busy).for_each(|check| check["outcome"] = json!("passed"));
    let valid = checks.iter().all(|check| check["outcome"] != "invalid");
    validity["valid"] = json!(valid);
    run
}

#[test]
fn a_buffering_gateway_is_not_a_faster_server() {
    let runs = direct_and_buffered();
    let outcome = |run: &Value| {
        let checks = run["servegauge"]["validity"]["checks"].as_array().unwrap().clone();
        let check = checks.into_iter().find(|check| check["name"] == "bursts").unwrap();
        (check["outcome"].clone(), check["scope"].clone())
    };
    assert_eq!(outcome(&runs[0]).0, json!("passed"), "{}", runs[0]["servegauge"]["validity"]);
    assert_eq!(
        outcome(&runs[1]),
        (json!("invalid"), json!("stream")),
        "{}",
        runs[1]["servegauge"]["validity"]
    );

    let folder = tempfile::tempdir().unwrap();
    let files = ["direct.json", "buffered.json"].map(|name| folder.path().join(name));
    files.iter().zip(&runs).for_each(|(file, run)| std::fs::write(file, run.to_string()).unwrap());
    let [direct, buffered] = files.each_ref().map(|file| file.display().to_string());

    let compared = Program::new(&format!("compare {direct} {buffered}")).end().well().stdout;
    assert!(compared.contains("TTFT, TPOT and ITL are INVALID: answers that begin"), "{compared}");
    assert!(compared.contains("E2E mean"), "{compared}");
    for marred in ["TTFT mean", "TPOT mean", "ITL mean"] {
        assert!(!compared.contains(marred), "{compared}");
    }

    let gate = |rule: &str| {
        Program::new(&format!("gate --baseline {direct} --candidate {buffered} --rule")).arg(rule).end()
    };
    let refused = gate("tpot.mean <= baseline * 2");
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.stdout.contains("TPOT mean: answers that begin"), "{refused:?}");
    let held = gate("e2el.mean <= baseline * 100");
    assert_eq!(held.code, Some(0), "{held:?}");
}
