//! Private keys are in no memory that is given back.

use std::sync::{
    OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use lb_proxy::tls::Certificate;
use rcgen::{CertificateParams, KeyPair};

use super::{TURN, certificates};

/// Pieces of a key, as it is and in PEM.
static SOUGHT: OnceLock<[[u8; 16]; 2]> = OnceLock::new();
static LOOKS: AtomicBool = AtomicBool::new(false);
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// Is a piece of the key in what is given back?
pub(super) fn look(block: &[u8]) {
    if LOOKS.load(SeqCst)
        && let Some(sought) = SOUGHT.get()
    {
        let pieces = sought.iter().filter(|sought| block.windows(16).any(|window| window == *sought));
        FOUND.fetch_add(pieces.count(), SeqCst);
    }
}

#[test]
fn keys_leave_no_copy_behind() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let pair = KeyPair::generate().unwrap();
    let signed = CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let der = pair.serialize_der();
    let key = certificates::pem("PRIVATE KEY", &der);
    let text = certificates::pem("CERTIFICATE", signed.der()) + &key;
    // The scalar has 32 bytes from 36 on: the second line of its PEM begins in the middle of it.
    let line = key.lines().nth(2).unwrap().as_bytes();
    SOUGHT.set([der[40..56].try_into().unwrap(), line[..16].try_into().unwrap()]).unwrap();
    LOOKS.store(true, SeqCst);
    drop(text.clone());
    drop(der.clone());
    assert_eq!(FOUND.swap(0, SeqCst), 2, "what is not overwritten is found");
    let both = Certificate::from_pem(text.as_bytes(), None);
    let apart = Certificate::from_pem(text.as_bytes(), Some(key.as_bytes()));
    LOOKS.store(false, SeqCst);
    assert_eq!(FOUND.load(SeqCst), 0);
    assert!(both.unwrap() == apart.unwrap());
}
