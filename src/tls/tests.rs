//! Files that are read, changed, broken and made whole again.

use std::fs;

use rcgen::{CertificateParams, DnType, KeyPair};
use tempfile::TempDir;

use super::*;

struct Pair {
    cert: String,
    key: String,
}

fn pair(common_name: &str) -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Pair { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// A directory with files that make sense.
fn directory() -> (TempDir, Files) {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    let files = Files {
        cert: at("cert.pem"),
        key: at("key.pem"),
        client_ca: Some(at("ca.pem")),
        min_version: MinVersion::Tls12,
    };
    let Pair { cert, key } = pair("first");
    fs::write(&files.cert, cert).unwrap();
    fs::write(&files.key, key).unwrap();
    fs::write(at("ca.pem"), pair("ca").cert).unwrap();
    (dir, files)
}

#[test]
fn what_makes_no_sense_is_told_by_flag_and_file() {
    let other = pair("other");
    for (flag, file, contents, word) in [
        ("cert-file", "cert.pem", "", "no certificate"),
        ("cert-file", "cert.pem", "-----BEGIN CERTIFICATE-----\nAA", "end"),
        ("key-file", "key.pem", "", "no items found"),
        ("key-file", "key.pem", other.key.as_str(), "mismatch"),
        ("key-file", "key.pem", other.cert.as_str(), "no items found"),
        ("trusted-ca-file", "ca.pem", "hello", "no certificate"),
        ("trusted-ca-file", "ca.pem", other.key.as_str(), "no certificate"),
    ] {
        let (dir, files) = directory();
        assert!(Tls::load(files.clone()).is_ok());
        fs::write(dir.path().join(file), contents).unwrap();
        let told = Tls::load(files.clone()).unwrap_err().to_string();
        assert!(told.starts_with(&format!("--{flag}: ")), "{told}");
        assert!(told.contains(file) && told.to_lowercase().contains(word), "{told}");
        fs::remove_file(dir.path().join(file)).unwrap();
        let told = Tls::load(files).unwrap_err().to_string();
        assert!(told.starts_with(&format!("--{flag}: ")), "{told}");
    }
}

#[test]
fn a_new_pair_is_taken_and_half_of_one_is_not() {
    let (_dir, files) = directory();
    let tls = Tls::load(files.clone()).unwrap();
    let first = tls.current();
    assert_eq!(tls.look(), Look::Same);
    let Pair { cert, key } = pair("second");
    fs::write(&files.cert, &cert[..cert.len() / 2]).unwrap();
    assert!(matches!(tls.look(), Look::Broken(_)));
    // It is told once.
    assert_eq!(tls.look(), Look::Same);
    fs::write(&files.cert, cert).unwrap();
    assert!(matches!(tls.look(), Look::Broken(_)), "the key is still the old one");
    fs::remove_file(&files.key).unwrap();
    assert!(matches!(tls.look(), Look::Broken(_)));
    assert!(Arc::ptr_eq(&first, &tls.current()));
    fs::write(&files.key, key).unwrap();
    assert_eq!(tls.look(), Look::New);
    assert!(!Arc::ptr_eq(&first, &tls.current()));
}

#[test]
fn a_new_ca_is_taken_and_none_is_not() {
    let (_dir, files) = directory();
    let tls = Tls::load(files.clone()).unwrap();
    let first = tls.current();
    let ca = files.client_ca.unwrap();
    fs::write(&ca, "").unwrap();
    assert!(matches!(tls.look(), Look::Broken(_)));
    assert!(Arc::ptr_eq(&first, &tls.current()));
    fs::write(&ca, pair("another ca").cert).unwrap();
    assert_eq!(tls.look(), Look::New);
}

#[test]
fn the_common_name_is_the_subjects_last_one() {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    assert_eq!(common_name(&der(&pair("alice").cert)).as_deref(), Some("alice"));
    assert_eq!(common_name(&der(&pair("Ärger im Büro").cert)).as_deref(), Some("Ärger im Büro"));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    assert_eq!(common_name(&der(&params.self_signed(&key).unwrap().pem())), None);
    assert_eq!(common_name(&CertificateDer::from(vec![1, 2, 3])), None);
}
