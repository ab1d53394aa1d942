//! The examples of RFC 7541 Appendix C, and what is refused.

use super::{Decoder, Fault, Room, put_field, put_status, put_table_size};
use crate::hex;

type Fields = Vec<(String, String)>;

fn decode(decoder: &mut Decoder, section: &[u8]) -> Result<Fields, Fault> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder.decode(section, |name, value| fields.push((text(name), text(value))))?;
    Ok(fields)
}

fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn fields(wanted: &[(&str, &str)]) -> Fields {
    wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn examples_of_appendix_c_are_decoded() {
    type Sections<'s> = &'s [(&'s str, &'s [(&'s str, &'s str)])];
    let first =
        &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")][..];
    let second = &[first, &[("cache-control", "no-cache")]].concat();
    let third = &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ][..];
    let cases: &[(&str, Sections<'_>)] = &[
        (
            "C.2.1",
            &[(
                "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
                &[("custom-key", "custom-header")],
            )],
        ),
        ("C.2.2", &[("040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")])]),
        ("C.2.3", &[("1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")])]),
        ("C.2.4", &[("82", &[(":method", "GET")])]),
        (
            "C.3",
            &[
                ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", first),
                ("8286 84be 5808 6e6f 2d63 6163 6865", second),
                ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", third),
            ],
        ),
        (
            "C.4",
            &[
                ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", first),
                ("8286 84be 5886 a8eb 1064 9cbf", second),
                ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", third),
            ],
        ),
    ];
    for (row, sections) in cases {
        let mut decoder = Decoder::default();
        for (section, wanted) in *sections {
            assert_eq!(decode(&mut decoder, &bytes(section)), Ok(fields(wanted)), "{row}");
        }
    }
}

/// C.5 and C.6: responses, whose table has 256 bytes and throws out.
#[test]
fn examples_of_appendix_c_with_evictions_are_decoded() {
    let first = [
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ];
    let second = [(":status", "307"), first[1], first[2], first[3]];
    let third = [
        (":status", "200"),
        first[1],
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        first[3],
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ];
    for sections in [
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d \
             546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f \
             6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b \
             2076 6572 7369 6f6e 3d31",
        ],
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 \
             8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 \
             dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ],
    ] {
        let mut decoder = Decoder::default();
        let resized = [&[0x3f, 0xe1, 0x01], &bytes(sections[0])[..]].concat();
        assert_eq!(decode(&mut decoder, &resized), Ok(fields(&first)));
        assert_eq!(decode(&mut decoder, &bytes(sections[1])), Ok(fields(&second)));
        assert_eq!(decode(&mut decoder, &bytes(sections[2])), Ok(fields(&third)));
    }
}

#[test]
fn sections_that_break_a_rule_are_refused() {
    for (section, fault, why) in [
        ("80", Fault::Index, "index 0"),
        ("be", Fault::Index, "an entry of an empty dynamic table"),
        ("7e 00", Fault::Index, "a name of no entry"),
        ("ff", Fault::Integer, "an integer that is cut off"),
        ("ff ff ff ff ff 7f", Fault::Integer, "an integer that is too large"),
        ("ff 80 80 80 80 80 00", Fault::Integer, "an integer of many bytes"),
        ("40", Fault::Text, "no name"),
        ("40 01", Fault::Text, "a name that is cut off"),
        ("40 01 61", Fault::Text, "no value"),
        ("40 01 61 05 61", Fault::Text, "a value that is cut off"),
        ("40 01 61 81 00", Fault::Text, "a value in half a code"),
        ("40 01 61 81 ff", Fault::Text, "a value of nothing but padding"),
        ("40 01 61 84 ff ff ff ff", Fault::Text, "the end in a value"),
        ("3f e2 1f", Fault::Size, "a table larger than it may be: 4097"),
        ("82 20", Fault::Size, "another size behind a field"),
    ] {
        assert_eq!(decode(&mut Decoder::default(), &bytes(section)), Err(fault), "{why}");
    }
    let largest = decode(&mut Decoder::default(), &bytes("20 3f e1 1f 82"));
    assert_eq!(largest, Ok(fields(&[(":method", "GET")])));
}

#[test]
fn name_of_an_entry_that_makes_room_for_it_is_kept() {
    let mut decoder = Decoder::default();
    let value = "v".repeat(4000);
    let mut section = bytes("40 03 78 2d 61");
    section.extend([0x7f, 0xa1, 0x1e]);
    section.extend(value.as_bytes());
    // The same name again, with a value that leaves no room for both.
    section.extend([0x7e, 0x7f, 0xa1, 0x1e]);
    section.extend("w".repeat(4000).as_bytes());
    section.push(0xbe);
    let other = "w".repeat(4000);
    let wanted = fields(&[("x-a", &value), ("x-a", &other), ("x-a", &other)]);
    assert_eq!(decode(&mut decoder, &section), Ok(wanted));
}

#[test]
fn what_is_encoded_is_decoded_to_the_same_in_lower_case() {
    let long = "x".repeat(40_000);
    let name = format!("X-{}", "Y".repeat(200));
    let mut section = Vec::new();
    put_table_size(&mut section);
    for status in [200, 204, 206, 304, 400, 404, 500, 302, 999] {
        put_status(status, &mut section);
    }
    put_field(b"Content-Type", b"text/html", &mut section);
    put_field(b"WWW-Authenticate", b"", &mut section);
    put_field(b"Accept-Charset", &long.as_bytes()[..126], &mut section);
    put_field(b"Server", &long.as_bytes()[..127], &mut section);
    put_field(b"X-Long", long.as_bytes(), &mut section);
    put_field(name.as_bytes(), b"1", &mut section);
    let statuses = ["200", "204", "206", "304", "400", "404", "500", "302", "999"];
    let mut wanted: Vec<_> = statuses.iter().map(|status| (":status", *status)).collect();
    let lower = name.to_ascii_lowercase();
    wanted.extend([
        ("content-type", "text/html"),
        ("www-authenticate", ""),
        ("accept-charset", &long[..126]),
        ("server", &long[..127]),
        ("x-long", &long),
        (&lower, "1"),
    ]);
    assert_eq!(decode(&mut Decoder::default(), &section), Ok(fields(&wanted)));
    // What stands in Appendix C of the same field, without indexing.
    let mut out = Vec::new();
    put_field(b"x", b"y", &mut out);
    assert_eq!(out.map_hex(), "0001780179");
}

trait MapHex {
    fn map_hex(&self) -> String;
}

impl MapHex for Vec<u8> {
    fn map_hex(&self) -> String {
        let digits = self.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(|digit| char::from(hex::LOWER[usize::from(digit)])).collect()
    }
}

/// A byte may stand for an entry of 4 kB, 64,000 times: whoever has had enough sees no more of them.
#[test]
fn nothing_is_decoded_beyond_what_is_taken() {
    let mut decoder = Decoder::default();
    let mut section = b"\x40\x01a\x7f\xa1\x1e".to_vec();
    section.extend([b'x'; 4000]);
    section.extend([0xbe; 60_000]);
    let mut taken = 0;
    let decoded = decoder.decode_in(&mut Room::default(), &section, |_, value| {
        taken += value.len();
        taken < 20_000
    });
    assert_eq!((decoded, taken), (Err(Fault::Enough), 20_000));
}
