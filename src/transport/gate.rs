//! How many handshakes may be in flight.
//!
//! sshd drops connections that have not authenticated yet beyond MaxStartups (10:30:100 by default), so a fleet behind
//! one address must not knock all at once. Each address starts with eight slots; whenever the peer drops a handshake it
//! loses one of them for the rest of the run, down to one, and the attempt is repeated after a pause.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::Rng;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::TransportError;

/// Handshakes in flight at one address.
const PER_ADDRESS: usize = 8;
/// Handshakes in flight at all.
const OVERALL: usize = 64;
/// Attempts before a peer that drops handshakes is given up.
const ATTEMPTS: u32 = 4;
/// The first pause; it doubles.
const PAUSE: Duration = Duration::from_millis(100);

/// How an attempt failed.
#[derive(Debug)]
pub enum Attempt {
    /// The peer dropped the connection before or in the key exchange: worth another attempt.
    Dropped(TransportError),
    /// Anything else: final.
    Failed(TransportError),
}

/// Admits handshakes. One value per run.
pub struct Gate {
    overall: Arc<Semaphore>,
    addresses: Mutex<HashMap<String, Arc<Address>>>,
}

struct Address {
    slots: Arc<Semaphore>,
    width: Mutex<usize>,
}

impl Address {
    /// Takes a slot out of service, unless it is the last one.
    fn narrow(&self, slot: Slot) {
        let mut width = self.width.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if *width > 1 {
            *width -= 1;
            slot.address.forget();
        }
    }
}

/// The right to shake hands; given back by dropping it.
struct Slot {
    address: OwnedSemaphorePermit,
    _overall: OwnedSemaphorePermit,
}

impl Default for Gate {
    fn default() -> Self {
        Gate {
            overall: Arc::new(Semaphore::new(OVERALL)),
            addresses: Mutex::default(),
        }
    }
}

impl Gate {
    /// Runs `attempt`, which ends with the login, when there is a slot for `address`; again when the peer drops it.
    ///
    /// # Errors
    /// That of the last attempt.
    pub async fn pass<T, F>(&self, address: &str, mut attempt: impl FnMut() -> F) -> Result<T, TransportError>
    where
        F: Future<Output = Result<T, Attempt>>,
    {
        let place = self.address(address);
        let mut dropped = 0;
        loop {
            let slot = admit(&place, &self.overall).await?;
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(Attempt::Failed(error)) => return Err(error),
                Err(Attempt::Dropped(error)) => {
                    dropped += 1;
                    place.narrow(slot);
                    if dropped == ATTEMPTS {
                        return Err(TransportError {
                            message: format!("{} ({ATTEMPTS} attempts)", error.message),
                            ..error
                        });
                    }
                }
            }
            // Jitter, or those who were dropped together come back together.
            let jitter = rand::rng().random_range(0.5..1.5);
            tokio::time::sleep((PAUSE * 2_u32.pow(dropped - 1)).mul_f64(jitter)).await;
        }
    }

    fn address(&self, address: &str) -> Arc<Address> {
        let mut addresses = self.addresses.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let new = || Address {
            slots: Arc::new(Semaphore::new(PER_ADDRESS)),
            width: Mutex::new(PER_ADDRESS),
        };
        addresses
            .entry(address.to_owned())
            .or_insert_with(|| Arc::new(new()))
            .clone()
    }
}

/// Waits for a slot at the address first, so that a crowd at one address holds no place that others could use.
async fn admit(place: &Address, overall: &Arc<Semaphore>) -> Result<Slot, TransportError> {
    let closed = |_| TransportError::connect("the run is being shut down");
    let address = place.slots.clone().acquire_owned().await.map_err(closed)?;
    let overall = overall.clone().acquire_owned().await.map_err(closed)?;
    Ok(Slot {
        address,
        _overall: overall,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A peer that has room for `room` handshakes and drops the others.
    async fn crowd(room: usize, guests: usize) -> (usize, usize) {
        let gate = Gate::default();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let knock = || async {
            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(30)).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            if now > room {
                Err(Attempt::Dropped(TransportError::connect("dropped")))
            } else {
                Ok(())
            }
        };
        let guests = (0..guests).map(|_| gate.pass("one", knock));
        let results = futures::future::join_all(guests).await;
        (
            results.iter().filter(|r| r.is_ok()).count(),
            most.load(Ordering::SeqCst),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_eight_knock_at_one_address() {
        assert_eq!(crowd(8, 40).await, (40, 8));
    }

    #[tokio::test(start_paused = true)]
    async fn a_narrow_door_lets_everybody_in_after_a_while() {
        for room in 1..8 {
            let (ok, most) = crowd(room, 30).await;
            assert_eq!((ok, most), (30, 8), "room for {room}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_door_is_given_up() {
        assert_eq!(crowd(0, 3).await.0, 0);
    }

    #[tokio::test]
    async fn a_final_failure_is_not_repeated() {
        let tries = AtomicUsize::new(0);
        let refuse = || async {
            tries.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>(Attempt::Failed(TransportError::connect("permission denied")))
        };
        assert!(Gate::default().pass("one", refuse).await.is_err());
        assert_eq!(tries.load(Ordering::SeqCst), 1);
    }
}
