//! A process has the files that its connections take, whatever the shell's limit was.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

use std::net::TcpStream;
use std::path::Path;

use cogwheel_tests::{ServiceProcess, binary, data, own_host};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Starts a vae by a shell in which so many files may be open.
fn start(limit: &str, connections: &str) -> ServiceProcess {
    let (vae, model) = (binary("cogwheel-vae"), data("checkpoints/sincos"));
    let exec = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    let address = format!("{}:0", own_host());
    let flags = ["--listen", &address, "--log-format", "json", "--threads", "1"];
    let mut args = vec!["-c", &exec, vae.to_str().unwrap(), "--model", model.to_str().unwrap()];
    args.extend(flags);
    args.extend(["--max-connections", connections]);
    ServiceProcess::of(Path::new("/bin/sh"), &args)
}

#[tokio::test]
async fn a_low_limit_of_files_does_not_keep_out_the_connections_that_there_may_be() {
    let vae = start("-Sn 64", "300");
    let address = vae.address().to_owned();
    let open: Vec<_> = (0..200).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let mut client = HealthClient::new(vae.channel());
    client.check(HealthCheckRequest::default()).await.unwrap();
    drop(open);
    vae.terminate();
    let (_, lines) = vae.finish();
    assert!(!lines.iter().any(|line| line.contains("cannot accept")), "{lines:#?}");
}

#[test]
fn a_limit_that_cannot_be_raised_is_told() {
    let vae = start("-n 128", "300");
    let line = vae.wait_for("--max-connections");
    assert!(line.contains("found 128"), "{line}");
}
