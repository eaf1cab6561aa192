//! Keys by which hosts of a cluster know each other, all derived from one secret: an ssh key for what one host may ask of
//! another, and certificates under the cluster's own authority. The same secret gives the same files on every run and
//! machine, so that nothing but the secret has to be kept.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ED25519, SanType, SerialNumber,
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
