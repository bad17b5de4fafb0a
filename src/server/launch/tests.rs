use std::fs;
use std::net::TcpListener;

use rustix::process::{Pid, test_kill_process};

use super::*;

/// A port that no other process takes: a socket holds it, without listening, until the test program ends. Only on Linux
/// may a server bind the port of such a socket.
fn own_port() -> u16 {
    let socket = bound_socket(Ipv4Addr::UNSPECIFIED, 0).unwrap();
    let port = socket.local_addr().unwrap().port();
    if cfg!(target_os = "linux") {
        std::mem::forget(socket);
    }
    port
}

/// A shell script as the server, in a temporary folder.
fn launch(script: &str, folder: &Path) -> LaunchConfig {
    LaunchConfig {
        words: ["sh", "-c", script].map(ToOwned::to_owned).to_vec(),
        env: vec![("GREETING".into(), "hello".into())],
        port: own_port(),
        log: folder.join("logs/server.log"),
        grace: Duration::from_secs(5),
    }
}

fn wait(server: &mut LaunchedServer, healthy: impl FnMut() -> bool) -> Result<Duration, LaunchError> {
    server.wait_until_healthy(Duration::from_secs(20), healthy, |_| ControlFlow::Continue(()))
}

/// The process whose number the script wrote to the log.
fn child_in(log: &Path) -> Pid {
    let text = fs::read_to_string(log).unwrap();
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

fn has_line(log: &Path) -> bool {
    fs::read_to_string(log).is_ok_and(|text| text.ends_with('\n'))
}

#[test]
fn a_server_and_its_children_are_gone_when_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch("sleep 300 & echo $!; wait", folder.path());
    let log = launch.log.clone();
    let mut server = LaunchedServer::start(launch).unwrap();
    wait(&mut server, || has_line(&log)).unwrap();
    let child = child_in(&log);
    assert!(test_kill_process(child).is_ok(), "the child runs");
    assert_eq!(server.stop(), None);
    assert!(test_kill_process(child).is_err(), "the child is neither alive nor a zombie");
}

#[test]
fn a_server_that_does_not_listen_to_term_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch("trap '' TERM; sleep 300 & echo $!; wait; sleep 300", folder.path());
    let launch = LaunchConfig { grace: Duration::from_millis(200), ..launch };
    let log = launch.log.clone();
    let mut server = LaunchedServer::start(launch).unwrap();
    wait(&mut server, || has_line(&log)).unwrap();
    let child = child_in(&log);
    drop(server);
    assert!(test_kill_process(child).is_err());
}

#[test]
fn a_server_that_crashes_is_told_with_the_end_of_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo first; printf '\\033[31m%s: no memory\\033[0m\\n' $GREETING; exit 7";
    let mut server = LaunchedServer::start(launch(script, folder.path())).unwrap();
    let error = wait(&mut server, || false).unwrap_err().to_string();
    assert!(
        error.contains("exit status: 7") && error.contains("server.log:\n  first\n  hello: no memory"),
        "{error}"
    );
}

#[test]
fn a_server_that_hangs_is_told_when_patience_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = LaunchedServer::start(launch("echo loading; sleep 300", folder.path())).unwrap();
    let mut seen = Vec::new();
    let patience = Duration::from_millis(500);
    let error = server.wait_until_healthy(
        patience,
        || false,
        |waiting| {
            seen.extend(waiting.line.map(ToOwned::to_owned));
            ControlFlow::Continue(())
        },
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("not healthy within 500ms") && error.contains("\n  loading"), "{error}");
    assert!(seen.contains(&"loading".to_owned()), "the onlooker saw the log");
}

#[test]
fn waiting_can_be_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = LaunchedServer::start(launch("sleep 300", folder.path())).unwrap();
    let error = server.wait_until_healthy(Duration::from_secs(60), || false, |_| ControlFlow::Break(()));
    assert!(matches!(error, Err(LaunchError::Interrupted)));
}

#[test]
fn a_program_that_is_not_there_and_a_port_that_is_taken_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let missing = LaunchConfig { words: vec!["/no/such/server".into()], ..launch("", folder.path()) };
    let error = LaunchedServer::start(missing).unwrap_err().to_string();
    assert!(error.starts_with("cannot start `/no/such/server`: "), "{error}");

    for host in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error =
            LaunchedServer::start(LaunchConfig { port, ..launch("sleep 300", folder.path()) }).unwrap_err();
        assert!(error.to_string().contains(&format!("port {port} is in use")), "{error}");
    }
}

/// A child process that is just being started has a copy of every socket, and may be slow to execute its program.
#[cfg(target_os = "linux")]
#[test]
fn looking_for_a_port_is_in_no_servers_way() {
    let looking = bound_socket(Ipv4Addr::UNSPECIFIED, 0).unwrap();
    let port = looking.local_addr().unwrap().port();
    assert!(is_free(port));
    TcpListener::bind(address(port)).unwrap();
    let other = bound_socket(Ipv4Addr::LOCALHOST, 0).unwrap().local_addr().unwrap().port();
    assert_ne!(other, port, "who asks for any port gets another one");
}
