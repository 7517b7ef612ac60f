//! Files of who is let in and of certificates, while a server runs: what is broken or emptied changes nothing.
#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![cfg(unix)]

#[path = "../../shared/service/tests/security/certificates.rs"]
#[allow(dead_code, reason = "another test needs the rest of it")]
mod certificates;

use std::path::Path;

use certificates::{Authority, Validity};
use cogwheel_api::vae::v1::vae_service_client::VaeServiceClient;
use cogwheel_service::{Dialer, DialerSettings, TokenSource};
use cogwheel_tests::{Process, ServiceProcess, binary, data, eventually, own_host};
use tempfile::TempDir;
use tonic::Code;

/// `printf %s TOKEN | sha256sum` of `old` and of `new`.
const OLD: (&str, &str) =
    ("old", "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4");
const NEW: (&str, &str) =
    ("new", "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437");

fn table((name, sha256): (&str, &str)) -> String {
    format!("[[tokens]]\nname = '{name}'\nsha256 = '{sha256}'\nroles = ['stage']\n")
}

fn start(host: &str, flags: &[&str]) -> ServiceProcess {
    let model = data("checkpoints/sincos");
    let all = [&["--model", model.to_str().unwrap(), "--threads", "1"], flags].concat();
    ServiceProcess::start_on(&format!("{host}:0"), "cogwheel-vae", &all)
}

/// What becomes of a call without a word; that of a caller who is let in is refused for what it lacks.
async fn code(vae: &ServiceProcess, ca: Option<&Path>, token: Option<&str>) -> Code {
    let token = token.map(|token| TokenSource::Text(token.to_owned()));
    let settings = DialerSettings { ca: ca.map(Path::to_owned), token, ..Default::default() };
    let dialer = Dialer::new(settings, ca.is_some()).unwrap();
    let mut client = VaeServiceClient::new(dialer.connect(&vae.url.parse().unwrap()));
    client.decode(tokio_stream::empty()).await.unwrap_err().code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_tokens_that_is_broken_or_emptied_leaves_who_is_let_in_as_it_was() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("cogwheel.toml");
    std::fs::write(&file, table(OLD)).unwrap();
    let vae = start(&own_host(), &["--config", file.to_str().unwrap()]);
    let as_before = async || {
        assert_eq!(code(&vae, None, Some("old")).await, Code::InvalidArgument);
        assert_eq!(code(&vae, None, Some("new")).await, Code::Unauthenticated);
        assert_eq!(code(&vae, None, None).await, Code::Unauthenticated);
    };
    as_before().await;
    for (broken, told) in [
        ("[[tokens".to_owned(), "cannot be reloaded"),
        (String::new(), "expected tokens or identities as before, found none"),
        (table(NEW).replace("stage", "root"), "expected a role"),
    ] {
        std::fs::write(&file, broken).unwrap();
        vae.wait_for(told);
        as_before().await;
    }
    std::fs::write(&file, table(NEW)).unwrap();
    eventually("the new token is known", async || {
        (code(&vae, None, Some("new")).await == Code::InvalidArgument).then_some(())
    })
    .await;
    assert_eq!(code(&vae, None, Some("old")).await, Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_a_pair_leaves_the_certificate_before_it() {
    let folder = TempDir::new().unwrap();
    let host = own_host();
    let issue = |name: &str| {
        let authority = Authority::new();
        let ca = authority.write(&folder.path().join(format!("{name}.ca")));
        (ca, authority.issue(folder.path(), name, &[&host], Validity::Good))
    };
    let ((old_ca, server), (new_ca, renewed)) = (issue("server"), issue("renewed"));
    let [cert, key] = [&server.cert, &server.key].map(|path| path.to_str().unwrap());
    let vae = start(&host, &["--tls-cert", cert, "--tls-key", key]);
    std::fs::copy(&renewed.cert, cert).unwrap();
    vae.wait_for("cannot be reloaded");
    assert_eq!(code(&vae, Some(&old_ca), None).await, Code::InvalidArgument);
    std::fs::copy(&renewed.key, key).unwrap();
    vae.wait_for("\"reloaded\"");
    assert_eq!(code(&vae, Some(&new_ca), None).await, Code::InvalidArgument);
    assert_ne!(code(&vae, Some(&old_ca), None).await, Code::InvalidArgument);
}

#[test]
fn tokens_of_a_file_that_can_be_read_only_once_do_not_open_a_server() {
    let (vae, model) = (binary("cogwheel-vae"), data("checkpoints/sincos"));
    let [vae, model] = [&vae, &model].map(|path| path.to_str().unwrap());
    let flags = format!("--model '{model}' --listen 127.0.0.1:0 --config /dev/stdin");
    let script = format!("printf %s \"$0\" | '{vae}' {flags}");
    let (status, _, error) =
        Process::start(Path::new("/bin/sh"), &["-c", &script, &table(OLD)]).wait();
    assert_eq!(status.code(), Some(2), "{error}");
    assert!(error.contains("expected tokens or identities as before, found none"), "{error}");
}
