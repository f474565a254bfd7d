//! The server under TLS: requests, watches, clients' certificates, handshakes that stand still.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::socket::shake_hands;
use super::*;
use crate::tls::{Files, MinVersion};

/// A CA, and what it signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    dir: TempDir,
}

struct Signed {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem, dir: TempDir::new().unwrap() }
    }

    fn sign(&self, common_name: &str) -> Signed {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Signed { cert: cert.pem(), key: key.serialize_pem() }
    }

    fn tls(&self, wants_certificates: bool, min_version: MinVersion) -> Arc<Tls> {
        let at = |name: &str| self.dir.path().join(name);
        let Signed { cert, key } = self.sign("server");
        fs::write(at("cert"), cert).unwrap();
        fs::write(at("key"), key).unwrap();
        fs::write(at("ca"), &self.pem).unwrap();
        let client_ca = wants_certificates.then(|| at("ca"));
        let files = Files { cert: at("cert"), key: at("key"), client_ca, min_version };
        Arc::new(Tls::load(files).unwrap())
    }

    fn client(&self, identity: Option<Signed>) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match identity {
            None => config.with_no_client_auth(),
            Some(Signed { cert, key }) => {
                let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![cert], key).unwrap()
            }
        }
    }
}

impl Running {
    async fn connect_tls(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, self.connect().await).await
    }
}

/// Sends a request that ends its connection; what came back, or nothing where it was cut off.
async fn ask(server: &Running, config: ClientConfig, target: &str) -> Option<Answer> {
    let mut socket = server.connect_tls(config).await.ok()?;
    let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    socket.write_all(text.as_bytes()).await.ok()?;
    let mut bytes = Vec::new();
    // The end is one of TLS, which cannot be forged.
    socket.read_to_end(&mut bytes).await.ok()?;
    Some(read_to_end(&mut bytes.as_slice()).await)
}

#[tokio::test]
async fn plain_and_secure_listeners_serve_beside_each_other() {
    let authority = Authority::new();
    let tls = authority.tls(false, MinVersion::Tls12);
    let doors = [(Some(tls), Door::Clients), (None, Door::Clients)];
    let server = Setup::default().start_at(doors).await;
    let mut config = authority.client(None);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut socket = server.connect_tls(config).await.unwrap();
    assert_eq!(socket.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    for _ in 0..2 {
        socket.write_all(b"GET /v2/keys/a HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        read_until(&mut socket, "\"createdIndex\":16}}\n").await;
    }
    let mut plain = TcpStream::connect(server.addresses[1]).await.unwrap();
    plain.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut plain, "3.4.23").await;
    // Who speaks plainly where TLS is spoken gets nothing, and harms nobody.
    let mut wrong = server.connect().await;
    wrong.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = wrong.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP"));
    assert_eq!(ask(&server, authority.client(None), "/version").await.unwrap().status, 200);
}

#[tokio::test]
async fn clients_without_a_certificate_of_the_ca_are_turned_away() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let tls = authority.tls(true, MinVersion::Tls12);
    let server = Setup::default().start_at([(Some(tls), Door::Clients)]).await;
    for identity in [None, Some(stranger.sign("alice"))] {
        assert!(ask(&server, authority.client(identity), "/version").await.is_none());
    }
    let known = authority.client(Some(authority.sign("alice")));
    assert_eq!(ask(&server, known, "/version").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_clients_certificate_names_it() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for (wants, expected) in [(true, Some("alice")), (false, None)] {
        let tls = authority.tls(wants, MinVersion::Tls12);
        let config = authority.client(Some(authority.sign("alice")));
        let connector = TlsConnector::from(Arc::new(config));
        let client = async {
            let socket = TcpStream::connect(address).await.unwrap();
            connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap()
        };
        let server = async {
            let (socket, _) = listener.accept().await.unwrap();
            shake_hands(&tls, socket).await.unwrap()
        };
        let (_client, socket) = tokio::join!(client, server);
        assert_eq!(socket.common_name().as_deref(), expected);
    }
}

#[tokio::test]
async fn a_new_ca_ends_what_the_old_one_allowed_also_for_resumed_sessions() {
    let (old, new) = (Authority::new(), Authority::new());
    let tls = old.tls(true, MinVersion::Tls12);
    let server = Setup::default().start_at([(Some(Arc::clone(&tls)), Door::Clients)]).await;
    // It keeps the tickets of its first connection for the next ones.
    let client = old.client(Some(old.sign("alice")));
    for _ in 0..2 {
        assert!(ask(&server, client.clone(), "/version").await.is_some());
    }
    fs::write(old.dir.path().join("ca"), &new.pem).unwrap();
    let looks = tokio::spawn(async move { tls.keep_looking().await });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while ask(&server, client.clone(), "/version").await.is_some() {
        assert!(tokio::time::Instant::now() < deadline, "the old CA's client is served");
    }
    looks.abort();
}

#[tokio::test]
async fn less_than_the_least_version_is_turned_away() {
    let authority = Authority::new();
    for (least, is_served) in [(MinVersion::Tls12, true), (MinVersion::Tls13, false)] {
        let tls = authority.tls(false, least);
        let server = Setup::default().start_at([(Some(tls), Door::Clients)]).await;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let old = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        assert_eq!(ask(&server, old, "/version").await.is_some(), is_served);
        assert!(ask(&server, authority.client(None), "/version").await.is_some());
    }
}

#[tokio::test]
async fn a_watch_that_waits_under_tls_is_told_and_its_connection_goes_on() {
    let authority = Authority::new();
    let tls = authority.tls(false, MinVersion::Tls12);
    let server = Setup::default().start_at([(Some(tls), Door::Clients)]).await;
    let mut socket = server.connect_tls(authority.client(None)).await.unwrap();
    for index in 20..23 {
        socket.write_all(b"GET /v2/keys/f?wait=true HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        read_until(&mut socket, "\r\n\r\n").await;
        assert_eq!(server.keys.watchers(), 1);
        server.keys.tell("/f", index);
        let told = read_until(&mut socket, "\r\n0\r\n\r\n").await;
        assert!(told.contains(&format!("\"modifiedIndex\":{index}")), "{told}");
    }
    // A stream leaves hyper as well, and writes each line out at once.
    let stream = "GET /v2/keys/f?wait=true&stream=true HTTP/1.1\r\nHost: a\r\n\r\n";
    socket.write_all(stream.as_bytes()).await.unwrap();
    read_until(&mut socket, "\r\n\r\n").await;
    for index in 30..35 {
        server.keys.tell("/f", index);
        read_until(&mut socket, &format!("\"modifiedIndex\":{index}")).await;
    }
    // A client that leaves frees its watcher.
    drop(socket);
    while server.keys.watchers() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_stand_still_cost_others_nothing_and_end() {
    let authority = Authority::new();
    let tls = authority.tls(false, MinVersion::Tls12);
    let doors = [(Some(tls), Door::Clients), (None, Door::Clients)];
    let setup = Setup { max_connections: 4, ..Setup::default() };
    let server = setup.start_at(doors).await;
    let mut open = server.connect_tls(authority.client(None)).await.unwrap();
    // Half of the connections may shake hands; these two do not.
    let mut still = [server.connect().await, server.connect().await];
    let plain = async {
        let mut plain = TcpStream::connect(server.addresses[1]).await.unwrap();
        plain.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        read_until(&mut plain, "3.4.23").await;
    };
    plain.await;
    open.write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    read_until(&mut open, "3.4.23").await;
    // The next one is served when these are given up.
    assert_eq!(ask(&server, authority.client(None), "/version").await.unwrap().status, 200);
    for socket in &mut still {
        assert_eq!(socket.read(&mut [0]).await.unwrap_or(0), 0);
    }
}
