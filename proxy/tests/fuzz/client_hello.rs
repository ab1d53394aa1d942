//! The first message of a TLS client: the same however it comes and is cut into records, and nothing of what follows counts.

use lb_proxy::client_hello::{ClientHello, Found, LONGEST};

pub(crate) fn client_hello(bytes: &[u8]) {
    let whole = ClientHello::find(bytes);
    for part in 0..bytes.len().min(LONGEST) {
        let found = ClientHello::find(&bytes[..part]);
        // What is said once stays said, whatever comes.
        assert!(found == Found::Part || found == whole, "{part}: {found:?}, {whole:?}");
    }
    let Found::Whole(hello) = &whole else { return };
    assert!(hello.sni.iter().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
    let behind = [bytes, &[0; 7]].concat();
    assert_eq!(ClientHello::find(&behind), whole);
    // In records of other sizes.
    let mut payload = Vec::new();
    let mut rest = bytes;
    while let Some((head, behind)) = rest.split_first_chunk::<5>() {
        let length = usize::from(u16::from_be_bytes([head[3], head[4]])).min(behind.len());
        if head[0] != 22 || length == 0 {
            break;
        }
        payload.extend_from_slice(&behind[..length]);
        rest = &behind[length..];
    }
    for size in [3, 16, 101] {
        let records: Vec<u8> = payload
            .chunks(size)
            .flat_map(|piece| [&[22, 3, 1, 0, u8::try_from(piece.len()).unwrap()], piece].concat())
            .collect();
        if records.len() < LONGEST {
            assert_eq!(ClientHello::find(&records), whole, "in records of {size}");
        }
    }
}

#[test]
fn client_hellos_are_the_same_however_they_come() {
    crate::mutate::search("client_hello", client_hello);
}
