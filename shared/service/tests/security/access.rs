use std::path::Path;

use cogwheel_service::{Address, Dialer, DialerSettings, TokenSource};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;

use super::certificates::{Authority, Validity};
use super::door::{Door, check, eventually};

const GENERATE: &str = "/cogwheel.generation.v1.GenerationService/GenerateVideo";
const DELETE: &str = "/cogwheel.adapter.v1.AdapterService/DeleteAdapter";
const DENOISE: &str = "/cogwheel.denoiser.v1.DenoiserService/Denoise";

/// A table of a token.
fn token(name: &str, token: &str, role: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[tokens]]\nname = '{name}'\nsha256 = '{hex}'\nroles = ['{role}']\n")
}

/// What a method answers: UNIMPLEMENTED where a call comes through, since nobody here has any.
async fn code(settings: DialerSettings, address: &Address, path: &'static str) -> Code {
    let link = Dialer::new(settings, false).unwrap().connect(address);
    let mut client = tonic::client::Grpc::new(link);
    client.ready().await.unwrap();
    let request = Request::new(HealthCheckRequest::default());
    let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    client.unary(request, PathAndQuery::from_static(path), codec).await.unwrap_err().code()
}

fn with(token: &str) -> DialerSettings {
    DialerSettings { token: Some(TokenSource::Text(token.to_owned())), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_open_what_their_roles_are_for_and_wrong_ones_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cogwheel.toml");
    let tables = [("ci", "qz-ci", "generate"), ("ops", "qz-ops", "adapters")].into_iter();
    let tables = tables.chain([("chain", "qz-chain", "stage"), ("root", "qz-root", "admin")]);
    let tables = tables.map(|(name, text, role)| token(name, text, role));
    std::fs::write(&file, format!("max_streams = 9\n{}", tables.collect::<String>())).unwrap();
    let door = Door::open_with(&[], Some(&file)).await.unwrap();
    let (through, denied, unknown) =
        (Code::Unimplemented, Code::PermissionDenied, Code::Unauthenticated);
    for (token, expected) in [
        ("qz-ci", [through, denied, denied]),
        ("qz-ops", [denied, through, denied]),
        ("qz-chain", [denied, denied, through]),
        ("qz-root", [through, through, through]),
        ("qz-wrong", [unknown, unknown, unknown]),
    ] {
        for (path, expected) in [GENERATE, DELETE, DENOISE].into_iter().zip(expected) {
            assert_eq!(code(with(token), &door.http(), path).await, expected, "{token} {path}");
        }
    }
    let nobody = DialerSettings::default();
    assert_eq!(code(nobody, &door.http(), GENERATE).await, unknown);
    // Health is for everybody.
    check(&Dialer::default().connect(&door.http())).await.unwrap();
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_taken_back_and_given_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cogwheel.toml");
    std::fs::write(&file, token("old", "qz-old", "generate")).unwrap();
    let door = Door::open_with(&[], Some(&file)).await.unwrap();
    let address = door.http();
    let code = async |token| code(with(token), &address, GENERATE).await;
    assert_eq!(code("qz-old").await, Code::Unimplemented);
    std::fs::write(&file, token("new", "qz-new", "generate")).unwrap();
    eventually("the new token is known", async || code("qz-new").await == Code::Unimplemented)
        .await;
    assert_eq!(code("qz-old").await, Code::Unauthenticated);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_token_is_replaced_for_calls_to_come() {
    let folder = tempfile::tempdir().unwrap();
    let (file, text) = (folder.path().join("cogwheel.toml"), folder.path().join("token"));
    std::fs::write(&file, token("ci", "qz-new", "generate")).unwrap();
    std::fs::write(&text, "qz-old\n").unwrap();
    let door = Door::open_with(&[], Some(&file)).await.unwrap();
    let token = Some(TokenSource::File(text.clone()));
    let dialer = Dialer::new(DialerSettings { token, ..Default::default() }, false).unwrap();
    let link = dialer.connect(&door.http());
    let code = async || {
        let mut client = tonic::client::Grpc::new(link.clone());
        client.ready().await.unwrap();
        let codec = ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
        let request = Request::new(HealthCheckRequest::default());
        let path = PathAndQuery::from_static(GENERATE);
        client.unary(request, path, codec).await.unwrap_err().code()
    };
    assert_eq!(code().await, Code::Unauthenticated);
    std::fs::write(&text, "qz-new\n").unwrap();
    eventually("the new token is sent", async || code().await == Code::Unimplemented).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_certificate_stands_for_its_roles() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ca = authority.write(&folder.path().join("ca.crt"));
    let file = folder.path().join("cogwheel.toml");
    let tables = "[[identities]]\nname = 'web'\nsan = 'spiffe://a/web'\nroles = ['generate']\n\
                  [[identities]]\nname = 'ops'\nsan = 'ops.example'\nroles = ['adapters']\n";
    std::fs::write(&file, tables).unwrap();
    let issue = |name, names: &[&str]| authority.issue(folder.path(), name, names, Validity::Good);
    let server = issue("server", &["127.0.0.1"]);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let flags = [path(&server.cert), path(&server.key), path(&ca)];
    let [cert, key, client_ca] = flags.each_ref().map(String::as_str);
    let flags = ["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", client_ca];
    let door = Door::open_with(&flags, Some(&file)).await.unwrap();
    for (name, names, expected) in [
        ("web", &["spiffe://a/web"], [Code::Unimplemented, Code::PermissionDenied]),
        ("ops", &["OPS.example"], [Code::PermissionDenied, Code::Unimplemented]),
        ("stranger", &["spiffe://a/other"], [Code::Unauthenticated, Code::Unauthenticated]),
    ] {
        let pair = issue(name, names);
        for (path, expected) in [GENERATE, DELETE].into_iter().zip(expected) {
            let identity = Some((pair.cert.clone(), pair.key.clone()));
            let settings = DialerSettings { ca: Some(ca.clone()), identity, token: None };
            assert_eq!(code(settings, &door.https(), path).await, expected, "{name} {path}");
        }
    }
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_table_is_told_by_its_line_before_anything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cogwheel.toml");
    let good = token("ci", "qz-ci", "generate");
    for (text, told) in [
        (
            good.replace("generate", "root"),
            "cogwheel.toml:1: tokens: roles of 'ci': expected a role",
        ),
        (good.replace("sha256 = '", "sha256 = 'x"), "tokens: sha256 of 'ci': expected 64"),
        (format!("{good}\n{good}"), "cogwheel.toml:6: tokens: sha256 of 'ci'"),
        (good.replace("sha256", "sha512"), "sha512"),
    ] {
        std::fs::write(&file, text).unwrap();
        let Err(fatal) = Door::open_with(&[], Some(&file)).await else { panic!("{told}") };
        assert!(fatal.message.contains(told), "{told} in {}", fatal.message);
        assert_eq!(fatal.report(), 2);
    }
}
