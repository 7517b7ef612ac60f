use std::path::{Path, PathBuf};
use std::sync::Arc;

use cogwheel_service::{Dialer, DialerSettings};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tonic::Code;

use super::certificates::{Authority, Pair, Validity};
use super::door::{Door, cause, check, dialer, eventually, watch};

/// The server's own names in its certificate.
const NAMES: &[&str] = &["127.0.0.1", "localhost"];

/// An authority, and a server's pair of it.
struct Files {
    folder: TempDir,
    authority: Authority,
    ca: PathBuf,
    server: Pair,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let ca = authority.write(&folder.path().join("ca.crt"));
        let server = authority.issue(folder.path(), "server", NAMES, Validity::Good);
        Self { folder, authority, ca, server }
    }

    fn issue(&self, name: &str, names: &[&str], validity: Validity) -> Pair {
        self.authority.issue(self.folder.path(), name, names, validity)
    }

    /// A server with this pair that wants clients' certificates where `mutual`.
    async fn door(&self, pair: &Pair, mutual: bool) -> Door {
        let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let mut flags = vec!["--tls-cert".to_owned(), path(&pair.cert)];
        flags.extend(["--tls-key".to_owned(), path(&pair.key)]);
        if mutual {
            flags.extend(["--tls-client-ca".to_owned(), path(&self.ca)]);
        }
        Door::open(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_with_a_certificate_speaks_tls_and_nothing_else() {
    let files = Files::new();
    let door = files.door(&files.server, false).await;
    check(&dialer(&files.ca, None).connect(&door.https())).await.unwrap();
    let status = check(&Dialer::default().connect(&door.http())).await.unwrap_err();
    // Whatever the transport makes of it, no service has answered.
    assert!(std::error::Error::source(&status).is_some(), "{status:?}");
    // The next one is served.
    check(&dialer(&files.ca, None).connect(&door.https())).await.unwrap();
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_believes_no_server_but_one_of_its_authority_by_its_name_and_in_its_time() {
    let files = Files::new();
    let stranger = Authority::new().write(&files.folder.path().join("stranger.crt"));
    let door = files.door(&files.server, false).await;
    let status = check(&dialer(&stranger, None).connect(&door.https())).await.unwrap_err();
    assert!(cause(&status).contains("UnknownIssuer"), "{status:?}");
    door.close().await;
    for (pair, told) in [
        (files.issue("other", &["other.example"], Validity::Good), "not valid for name"),
        (files.issue("expired", NAMES, Validity::Expired), "xpired"),
    ] {
        let door = files.door(&pair, false).await;
        let status = check(&dialer(&files.ca, None).connect(&door.https())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(cause(&status).contains(told), "{}", cause(&status));
        door.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_lets_in_nobody_without_a_good_certificate_of_the_authority() {
    let files = Files::new();
    let door = files.door(&files.server, true).await;
    let good = files.issue("client", &["spiffe://a/web"], Validity::Good);
    let link = dialer(&files.ca, Some(&good)).connect(&door.https());
    check(&link).await.unwrap();
    let expired = files.issue("expired", &["spiffe://a/web"], Validity::Expired);
    let folder = files.folder.path();
    let strange = Authority::new().issue(folder, "strange", &["spiffe://a/web"], Validity::Good);
    for (identity, told) in
        [(None, "ertificate"), (Some(&expired), "xpired"), (Some(&strange), "nknown")]
    {
        let link = dialer(&files.ca, identity).connect(&door.https());
        let status = check(&link).await.unwrap_err();
        assert!(cause(&status).contains(told), "{told} in {status:?}");
    }
    // Whoever was let in goes on.
    check(&link).await.unwrap();
    door.close().await;
}

/// A session that is taken up again would bring a certificate along that is expired by then.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_taken_up_again_where_clients_need_certificates() {
    let files = Files::new();
    let client = files.issue("client", &["spiffe://a/web"], Validity::Good);
    for (mutual, expected) in [(true, HandshakeKind::Full), (false, HandshakeKind::Resumed)] {
        let door = files.door(&files.server, mutual).await;
        let connector = TlsConnector::from(Arc::new(keeps_sessions(&files.ca, &client)));
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let stream = TcpStream::connect(door.address).await.unwrap();
            let name = ServerName::try_from("127.0.0.1").unwrap();
            let mut stream = connector.connect(name, stream).await.unwrap();
            // What can be taken up comes before the server's first word.
            stream
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
                .await
                .unwrap();
            stream.read_u8().await.unwrap();
            kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        }
        assert_eq!(kinds, [HandshakeKind::Full, expected], "mutual: {mutual}");
        door.close().await;
    }
}

/// A client that takes its sessions up again where it may.
fn keeps_sessions(ca: &Path, pair: &Pair) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(&pair.cert).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = builder.with_client_auth_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_certificate_is_replaced_and_no_connection_is_cut() {
    let files = Files::new();
    let door = files.door(&files.server, false).await;
    let before = dialer(&files.ca, None).connect(&door.https());
    let mut watching = watch(&before).await;

    let authority = Authority::new();
    let ca = authority.write(&files.folder.path().join("new.crt"));
    let new = authority.issue(files.folder.path(), "renewed", NAMES, Validity::Good);
    std::fs::copy(&new.cert, &files.server.cert).unwrap();
    std::fs::copy(&new.key, &files.server.key).unwrap();
    eventually("the new certificate is shown", async || {
        check(&dialer(&ca, None).connect(&door.https())).await.is_ok()
    })
    .await;
    let status = check(&dialer(&files.ca, None).connect(&door.https())).await.unwrap_err();
    assert!(cause(&status).contains("UnknownIssuer"), "{status:?}");

    door.set_loading();
    watching.message().await.unwrap().unwrap();
    check(&before).await.unwrap();
    drop(watching);
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_certificate_is_replaced_for_connections_to_come() {
    let files = Files::new();
    let door = files.door(&files.server, true).await;
    let client = files.issue("client", &["web.example"], Validity::Expired);
    let link = dialer(&files.ca, Some(&client)).connect(&door.https());
    assert!(check(&link).await.is_err());
    files.issue("client", &["web.example"], Validity::Good);
    eventually("the new certificate is shown", async || check(&link).await.is_ok()).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_file_is_told_before_anything_is_served() {
    let files = Files::new();
    let other = files.issue("other", NAMES, Validity::Good);
    let path = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (cert, key, ca) = (path(&files.server.cert), path(&files.server.key), path(&files.ca));
    let missing = path(&files.folder.path().join("missing"));
    for (cert, key, ca, told) in [
        (&missing, &key, &ca, "missing: "),
        (&key, &key, &ca, "server.key: expected certificates in PEM"),
        (&cert, &cert, &ca, "server.crt: expected a private key in PEM"),
        (&cert, &path(&other.key), &ca, "server.crt: "),
        (&cert, &key, &key, "server.key: expected certificates in PEM"),
    ] {
        let flags = ["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", ca];
        let Err(fatal) = Door::try_open(&flags).await else { panic!("it opens: {told}") };
        assert!(fatal.message.contains(told), "{told} in {}", fatal.message);
        assert_eq!(fatal.report(), 2);
    }
    let ca = Some(files.folder.path().join("missing"));
    let settings = DialerSettings { ca, ..DialerSettings::default() };
    assert_eq!(Dialer::new(settings, true).unwrap_err().report(), 2);
}
