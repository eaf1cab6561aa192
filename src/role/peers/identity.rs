//! Keys by which hosts of a cluster know each other, all derived from one secret: an ssh key for what one host may ask of
//! another, and certificates under the cluster's own authority. The same secret gives the same files on every run and
//! machine, so that nothing but the secret has to be kept.

use std::net::IpAddr;

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer;
use p256::pkcs8::EncodePrivateKey;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SanType, SerialNumber,
};
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData, PrivateKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::secret::Secret;

/// Name of the secret.
pub const SECRET: &str = "cluster/key";

/// What is derived from it.
pub struct Identity {
    seed: Secret,
    cluster: String,
}

/// A private key and what may be shown of it.
pub struct Pair {
    /// PEM, or OpenSSH's own format.
    pub private: Secret,
    /// A certificate chain in PEM, or a line of `authorized_keys`.
    pub public: String,
}

/// 32 bytes of a PKCS#8 Ed25519 key follow this (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

impl Identity {
    /// The identity of a cluster whose secret this is.
    pub fn new(seed: Secret, cluster: &str) -> Self {
        Identity {
            seed,
            cluster: cluster.to_owned(),
        }
    }

    /// 32 bytes for one purpose; none tells of another.
    fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut hash = Sha256::new();
        hash.update(self.seed.reveal().as_bytes());
        hash.update([0]);
        hash.update(purpose.as_bytes());
        Zeroizing::new(hash.finalize().into())
    }

    /// An ssh key of the cluster's hosts.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn ssh(&self, purpose: &str) -> Result<Pair> {
        let failed = |error| Error::internal(format!("the cluster's ssh key cannot be made: {error}"));
        let pair = Ed25519Keypair::from_seed(&self.derive(purpose));
        let key = PrivateKey::new(KeypairData::from(pair), format!("hactl-{}", self.cluster)).map_err(failed)?;
        Ok(Pair {
            public: key.public_key().to_openssh().map_err(failed)?,
            private: Secret::new(key.to_openssh(LineEnding::LF).map_err(failed)?.as_str()),
        })
    }

    fn key(&self, purpose: &str) -> Result<KeyPair> {
        let der = Zeroizing::new([&PKCS8[..], &*self.derive(purpose)].concat());
        KeyPair::from_pkcs8_der_and_sign_algo(&der.as_slice().into(), &PKCS_ED25519).map_err(unmade)
    }

    fn authority_params(&self) -> Result<CertificateParams> {
        let mut params = self.params("authority", &format!("hactl {}", self.cluster))?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(params)
    }

    fn params(&self, purpose: &str, name: &str) -> Result<CertificateParams> {
        let mut params = CertificateParams::new(Vec::<String>::new()).map_err(unmade)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, name);
        params.distinguished_name = subject;
        // Fixed, so that the same secret gives the same bytes. Nobody but hosts that are given the authority trusts it, and
        // a new secret replaces it.
        params.not_before = rcgen::date_time_ymd(2024, 1, 1);
        params.not_after = rcgen::date_time_ymd(2124, 1, 1);
        let mut serial = Sha256::digest(format!("{}/{purpose}", self.cluster).as_bytes()).to_vec();
        serial.truncate(16);
        serial[0] &= 0x7f;
        params.serial_number = Some(SerialNumber::from(serial));
        Ok(params)
    }

    /// Certificate of the authority, PEM.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn authority(&self) -> Result<String> {
        let certificate = self
            .authority_params()?
            .self_signed(&self.key("authority")?)
            .map_err(unmade)?;
        Ok(certificate.pem())
    }

    /// Key and certificate of a host.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn host(&self, name: &str, address: IpAddr) -> Result<Pair> {
        let purpose = format!("host/{name}");
        let key = self.key(&purpose)?;
        let mut params = self.params(&purpose, name)?;
        params.subject_alt_names = vec![SanType::IpAddress(address)];
        if let Ok(dns) = name.try_into() {
            params.subject_alt_names.push(SanType::DnsName(dns));
        }
        let authority = self.authority_params()?;
        let authority_key = self.key("authority")?;
        let issuer = Issuer::from_params(&authority, &authority_key);
        let certificate = params.signed_by(&key, &issuer).map_err(unmade)?;
        Ok(Pair {
            public: certificate.pem(),
            private: Secret::new(Zeroizing::new(key.serialize_pem()).as_str()),
        })
    }

    /// Key and certificate of all self-signed sites: visitors get the same one on every host.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn web(&self, names: &[&str]) -> Result<Pair> {
        let failed = |what: &str| Error::internal(format!("the key of self-signed sites cannot be made: {what}"));
        // One in four thousand million derived numbers is too large for a key.
        let secret = (0..8).find_map(|number| {
            let bytes = self.derive(&format!("web/{number}"));
            p256::SecretKey::from_slice(&*bytes).ok()
        });
        let secret = secret.ok_or_else(|| failed("no number fits"))?;
        let pem = secret
            .to_pkcs8_pem(p256::pkcs8::LineEnding::LF)
            .map_err(|error| failed(&error.to_string()))?;
        let key = SigningKey::from(&secret);
        let public = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        let key = WebKey { key, public };
        let mut params = self.params(&format!("web/{}", names.join(" ")), "hactl self-signed")?;
        for name in names {
            let name = (*name).try_into().map_err(unmade)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Ok(Pair {
            public: params.self_signed(&key).map_err(unmade)?.pem(),
            private: Secret::new(pem.as_str()),
        })
    }
}

/// A key for visitors: browsers know no Ed25519. Its signatures are made without randomness (RFC 6979), so that the same
/// secret gives the same certificate.
struct WebKey {
    key: SigningKey,
    /// The point, uncompressed.
    public: Vec<u8>,
}

impl PublicKeyData for WebKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for WebKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: p256::ecdsa::Signature = self.key.sign(message);
        Ok(signature.to_der().as_bytes().to_vec())
    }
}

fn unmade(error: rcgen::Error) -> Error {
    Error::internal(format!("the cluster's certificates cannot be made: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_secret_gives_the_same_files_every_time_and_another_gives_others() {
        let of = |seed: &str| Identity::new(Secret::new(seed), "demo");
        let address = "10.0.0.1".parse().unwrap();
        let all = |identity: Identity| {
            let (ssh, host) = (identity.ssh("ssh").unwrap(), identity.host("db1", address).unwrap());
            [
                ssh.public,
                ssh.private.reveal().to_owned(),
                host.public,
                host.private.reveal().to_owned(),
                identity.authority().unwrap(),
            ]
        };
        let (one, same, other) = (all(of("a")), all(of("a")), all(of("b")));
        assert_eq!(one, same);
        assert!(one.iter().zip(&other).all(|(one, other)| one != other));
        assert!(one[0].starts_with("ssh-ed25519 "));
        assert!(one[1].starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
        let hosts = of("a");
        assert_ne!(
            hosts.host("db1", address).unwrap().private,
            hosts.host("db2", address).unwrap().private
        );
        assert_ne!(hosts.ssh("ssh").unwrap().private, hosts.ssh("ssh/app").unwrap().private);
    }

    /// What a browser checks of it, but for who signed it.
    #[test]
    fn visitors_see_one_certificate_that_covers_all_names() {
        let names = ["erp.example.com", "*.example.com"];
        let of = |seed: &str| Identity::new(Secret::new(seed), "demo").web(&names).unwrap();
        let (one, same, other) = (of("a"), of("a"), of("b"));
        assert_eq!((&one.public, &one.private), (&same.public, &same.private));
        assert_ne!(one.public, other.public);
        let folder = tempfile::tempdir().unwrap();
        let (crt, key) = (folder.path().join("crt"), folder.path().join("key"));
        std::fs::write(&crt, &one.public).unwrap();
        std::fs::write(&key, one.private.reveal()).unwrap();
        let openssl = |words: &[&str], file: &std::path::Path| {
            let output = std::process::Command::new("openssl")
                .args(words)
                .arg(file)
                .output()
                .unwrap();
            (
                output.status.success(),
                String::from_utf8_lossy(&output.stdout).into_owned(),
            )
        };
        let crt_text = crt.display().to_string();
        for (name, good) in [
            ("erp.example.com", true),
            ("a.example.com", true),
            ("example.org", false),
        ] {
            let words = [
                "verify",
                "-purpose",
                "sslserver",
                "-verify_hostname",
                name,
                "-CAfile",
                &crt_text,
            ];
            assert_eq!(openssl(&words, &crt).0, good, "{name}");
        }
        let public = |words: &[&str], file| openssl(words, file).1;
        assert_eq!(
            public(&["x509", "-noout", "-pubkey", "-in"], &crt),
            public(&["pkey", "-pubout", "-in"], &key)
        );
    }

    /// openssl is what the hosts' MariaDB judges with.
    #[test]
    fn a_hosts_certificate_is_good_for_its_address_under_the_authority() {
        let identity = Identity::new(Secret::new("seed"), "demo");
        let pair = identity.host("db1", "10.0.0.1".parse().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (ca, crt) = (folder.path().join("ca"), folder.path().join("crt"));
        std::fs::write(&ca, identity.authority().unwrap()).unwrap();
        std::fs::write(&crt, pair.public).unwrap();
        for (address, good) in [("10.0.0.1", true), ("10.0.0.2", false)] {
            let verified = std::process::Command::new("openssl")
                .args(["verify", "-verify_ip", address, "-purpose", "sslserver", "-CAfile"])
                .args([&ca, &crt])
                .output()
                .unwrap();
            assert_eq!(verified.status.success(), good, "{address}: {verified:?}");
        }
    }
}
