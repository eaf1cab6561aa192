//! New secrets, from the operating system's random numbers.

use base64::Engine;
use rand::distr::{Alphanumeric, SampleString};
use rand::{Rng, rng};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// 32 characters of `[A-Za-z0-9]`, 190 bits.
pub fn password() -> Secret {
    Secret::new(Alphanumeric.sample_string(&mut rng(), 32))
}

/// 32 bytes in URL-safe base64 with padding: 44 characters.
pub fn fernet_key() -> Secret {
    let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(rng().random());
    Secret::new(base64::engine::general_purpose::URL_SAFE.encode(*bytes))
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    #[test]
    fn secrets_have_their_form_and_differ() {
        let (one, other) = (super::password(), super::password());
        assert_ne!(one, other);
        assert_eq!(one.reveal().len(), 32);
        assert!(one.reveal().chars().all(|c| c.is_ascii_alphanumeric()));
        let key = super::fernet_key();
        assert_eq!(key.reveal().len(), 44);
        let bytes = base64::engine::general_purpose::URL_SAFE
            .decode(key.reveal())
            .expect("base64");
        assert_eq!(bytes.len(), 32);
    }
}
