//! Compressed field sections: decoded without a fault of ours, the same after what was written anew.

use lb_proxy::http2::hpack::{Decoder, TABLE_SIZE, put_field};

type Field = (Vec<u8>, Vec<u8>);

fn decode(decoder: &mut Decoder, section: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    decoder.decode(section, |name, value| fields.push((name.to_vec(), value.to_vec()))).ok()?;
    Some(fields)
}

/// The input is several sections, each behind the byte that says how long it is: the table lives on between them.
pub(crate) fn hpack(bytes: &[u8]) {
    let [mut decoder, mut again] = [Decoder::default(), Decoder::default()];
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first() {
        let (section, behind) = behind.split_at(usize::from(*length).min(behind.len()));
        rest = behind;
        let found = decode(&mut decoder, section);
        assert_eq!(decode(&mut again, section), found, "twice the same");
        let Some(fields) = found else { return };
        // A section can't be blown up beyond what a table holds, for each of its bytes.
        let size: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(size <= section.len() * TABLE_SIZE, "{size} of {}", section.len());
        let mut out = Vec::new();
        fields.iter().for_each(|(name, value)| put_field(name, value, &mut out));
        let lower = fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        assert_eq!(decode(&mut Decoder::default(), &out), Some(lower));
    }
}

#[test]
fn field_sections_are_decoded_and_written_anew_the_same() {
    crate::mutate::search("hpack", hpack);
}
