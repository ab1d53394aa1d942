//! Who is believed.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    AdvertisementInterval, ChecksumForm, Password, Transport, Version, Vrid,
    advertisement::{Advertisement, Expected, decode},
};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));
const ENVELOPE: Envelope = Envelope { source: SOURCE, destination: GROUP, ttl: 255 };

fn secret() -> Secret {
    Secret::new("correct horse battery staple").unwrap()
}

fn message(version: Version, address: &str, password: Option<&Password>) -> Vec<u8> {
    let advertisement = Advertisement {
        version,
        vrid: Vrid::new(51).unwrap(),
        priority: 150,
        interval: Duration::from_secs(1),
        addresses: vec![address.parse().unwrap()],
    };
    let source = advertisement.addresses[0];
    advertisement.encode_with(
        password,
        ChecksumForm::Rfc9568,
        if source.is_ipv4() { SOURCE } else { source },
        GROUP,
    )
}

fn ours() -> Vec<u8> {
    message(Version::V3, "192.0.2.100", None)
}

fn signed(sender: &mut Sender, message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    sender.sign(&secret(), SOURCE, GROUP, &mut bytes);
    bytes
}

fn hear(receiver: &mut Receiver, envelope: &Envelope, bytes: &[u8]) -> Result<(), DecodeError> {
    let (message, trailer) = split(bytes, envelope.source);
    receiver.check(&secret(), envelope, message, trailer.as_ref())
}

/// The key, the purpose and the parts, each behind its length of 8 octets, given to `openssl dgst -sha256 -hmac`.
#[test]
fn trailer_is_as_it_is_documented() {
    let bytes = signed(&mut Sender::new(0x0102_0304_0506_0708, 41), &ours());
    assert_eq!(bytes.len(), 12 + 52);
    assert_eq!(bytes[..12], ours());
    assert_eq!(bytes[12..32], *b"LBA\x01\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\x2a");
    let hex: String = bytes[32..].iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(hex, "574465595ada4ff14572cff75cb04119b865d62b56b3ce28e1a9abfff554ef96");
}

#[test]
fn trailer_is_taken_off_and_the_message_is_what_it_was() {
    let password = Password::new("secret").unwrap();
    for message in [
        ours(),
        message(Version::V2, "192.0.2.100", None),
        message(Version::V2, "192.0.2.100", Some(&password)),
        message(Version::V3, "fe80::100", None),
    ] {
        let source = if message.len() == 24 { "fe80::11".parse().unwrap() } else { SOURCE };
        let bytes = signed(&mut Sender::new(7, 0), &message);
        let (found, trailer) = split(&bytes, source);
        assert_eq!(found, message);
        assert!(trailer.is_some());
        assert_eq!(split(&message, source), (&*message, None));
        for cut in 0..bytes.len() {
            assert_eq!(split(&bytes[..cut], source), (&bytes[..cut], None), "cut at {cut}");
        }
        let longer = [&*bytes, &[0]].concat();
        assert_eq!(split(&longer, source), (&*longer, None));
    }
}

#[test]
fn what_a_router_without_a_secret_hears_is_the_message_before_the_trailer() {
    let bytes = signed(&mut Sender::new(7, 0), &ours());
    let expected = Expected {
        vrid: Vrid::new(51).unwrap(),
        version: Version::V3,
        interval: AdvertisementInterval::new(Version::V3, Duration::from_secs(1)).unwrap(),
        transport: &Transport::Multicast,
        password: None,
    };
    assert!(
        matches!(decode(&bytes, &ENVELOPE, &[expected]), Err(DecodeError::TrailingBytes { .. })),
        "as keepalived"
    );
    let (message, _) = split(&bytes, SOURCE);
    assert_eq!(decode(message, &ENVELOPE, &[expected]).unwrap().advertisement.priority, 150);
}

#[test]
fn advertisement_is_heard_once_and_in_order() {
    let (mut receiver, mut sender) = (Receiver::default(), Sender::new(7, 0));
    let [first, second, third] = [(); 3].map(|()| signed(&mut sender, &ours()));
    assert_eq!(hear(&mut receiver, &ENVELOPE, &first), Ok(()));
    assert_eq!(hear(&mut receiver, &ENVELOPE, &third), Ok(()), "one was lost");
    for old in [&first, &second, &third] {
        assert_eq!(hear(&mut receiver, &ENVELOPE, old), Err(DecodeError::Replayed));
    }
}

#[test]
fn what_is_old_is_refused_whatever_its_signature_and_costs_none() {
    let (mut receiver, mut sender) = (Receiver::default(), Sender::new(7, 0));
    let [mut old, newest] = [(); 2].map(|()| signed(&mut sender, &ours()));
    assert_eq!(hear(&mut receiver, &ENVELOPE, &newest), Ok(()));
    // The counter alone says so: nobody has looked at this signature.
    *old.last_mut().unwrap() ^= 1;
    assert_eq!(hear(&mut receiver, &ENVELOPE, &old), Err(DecodeError::Replayed));
    // And nobody gets ahead of the sender without one.
    let mut forged = signed(&mut Sender::new(7, 1_000), &ours());
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(hear(&mut receiver, &ENVELOPE, &forged), Err(DecodeError::Signature));
    assert_eq!(hear(&mut receiver, &ENVELOPE, &signed(&mut sender, &ours())), Ok(()));
}

#[test]
fn a_sender_that_is_set_back_is_refused_until_it_has_another_boot() {
    let (mut receiver, mut sender) = (Receiver::default(), Sender::new(7, 0));
    let mut snapshot = sender.clone();
    for _ in 0..3 {
        assert_eq!(hear(&mut receiver, &ENVELOPE, &signed(&mut sender, &ours())), Ok(()));
    }
    assert_eq!(hear(&mut receiver, &ENVELOPE, &signed(&mut snapshot, &ours())), Err(DecodeError::Replayed));
    // What a start of lbctl there gives it.
    assert_eq!(hear(&mut receiver, &ENVELOPE, &signed(&mut Sender::new(8, 0), &ours())), Ok(()));
}

#[test]
fn recorded_boot_is_refused_and_does_not_silence_the_one_that_runs() {
    let mut receiver = Receiver::default();
    let (mut before, mut now) = (Sender::new(7, 0), Sender::new(8, 0));
    let recorded = [(); 3].map(|()| signed(&mut before, &ours()));
    for bytes in &recorded {
        assert_eq!(hear(&mut receiver, &ENVELOPE, bytes), Ok(()));
    }
    for _ in 0..3 {
        assert_eq!(hear(&mut receiver, &ENVELOPE, &signed(&mut now, &ours())), Ok(()));
        for bytes in &recorded {
            assert_eq!(hear(&mut receiver, &ENVELOPE, bytes), Err(DecodeError::Replayed));
        }
    }
    // One that this router never heard of is heard, once.
    let unknown = signed(&mut Sender::new(9, 0), &ours());
    assert_eq!(hear(&mut receiver, &ENVELOPE, &unknown), Ok(()));
    assert_eq!(hear(&mut receiver, &ENVELOPE, &unknown), Err(DecodeError::Replayed));
    assert_eq!(hear(&mut receiver, &ENVELOPE, &signed(&mut now, &ours())), Ok(()));
}

#[test]
fn boots_take_bounded_memory_and_the_last_ones_are_kept() {
    let mut receiver = Receiver::default();
    for boot in 0..1_000 {
        assert_eq!(hear(&mut receiver, &ENVELOPE, &signed(&mut Sender::new(boot, 0), &ours())), Ok(()));
    }
    assert_eq!(receiver.boots.len(), BOOTS);
    let last = signed(&mut Sender::new(999, 0), &ours());
    assert_eq!(hear(&mut receiver, &ENVELOPE, &last), Err(DecodeError::Replayed));
}

#[test]
fn signature_is_for_its_secret_its_way_and_every_bit() {
    let bytes = signed(&mut Sender::new(7, 0), &ours());
    let mut receiver = Receiver::default();
    for bit in 0..8 * bytes.len() {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(hear(&mut receiver, &ENVELOPE, &changed).is_err(), "bit {bit}");
    }
    let elsewhere = Envelope { source: Ipv4Addr::new(192, 0, 2, 12).into(), ..ENVELOPE };
    assert_eq!(hear(&mut receiver, &elsewhere, &bytes), Err(DecodeError::Signature));
    let unicast = Envelope { destination: Ipv4Addr::new(192, 0, 2, 12).into(), ..ENVELOPE };
    assert_eq!(hear(&mut receiver, &unicast, &bytes), Err(DecodeError::Signature));
    let (message, trailer) = split(&bytes, SOURCE);
    let other = Secret::new("wrong horse battery staple").unwrap();
    assert_eq!(receiver.check(&other, &ENVELOPE, message, trailer.as_ref()), Err(DecodeError::Signature));
    assert_eq!(hear(&mut receiver, &ENVELOPE, &ours()), Err(DecodeError::Unsigned));
    assert_eq!(hear(&mut receiver, &ENVELOPE, &bytes), Ok(()), "nothing of that was remembered");
}

#[test]
fn each_step_drops_more() {
    let faults = [DecodeError::Unsigned, DecodeError::Signature, DecodeError::Replayed];
    let dropped = |step: Step| faults.each_ref().map(|fault| step.drops(fault));
    assert_eq!(dropped(Step::Send), [false, false, false]);
    assert_eq!(dropped(Step::Accept), [false, true, true]);
    assert_eq!(dropped(Step::Require), [true, true, true]);
    assert!(Step::Send < Step::Accept && Step::Accept < Step::Require);
}

proptest! {
    #[test]
    fn no_bytes_make_the_receiver_panic_or_believe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut receiver = Receiver::default();
        prop_assert!(hear(&mut receiver, &ENVELOPE, &bytes).is_err());
        let mut behind = ours();
        behind.extend_from_slice(&MAGIC);
        behind.extend_from_slice(&bytes);
        prop_assert!(hear(&mut receiver, &ENVELOPE, &behind).is_err());
    }
}
