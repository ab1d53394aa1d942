use super::*;

/// What crypt(3) of libxcrypt 4.4 makes of these passwords.
const HASHES: &[(&str, &str)] = &[
    (
        "Hello world!",
        "$6$rounds=1000$saltstring$Zu2Vknok2/f53APfN687ADnzeNBLcsEgTwvcBHMD2./07rZQAt8vsuKVufD15dyZh.LOLB/uZKf6I3GyON4bp/",
    ),
    (
        "pässwörd",
        "$6$saltsaltsaltsalt$0OIGPDuiRPKNh88M0FmGG9U7BYCvo0nHRIKXtLm6h.s3IpT2dycI8djpM2Nhd7bEUCkEMhwvDfAYRqNrQ0Qc8/",
    ),
    ("", "$5$rounds=1000$abc$sP9FmVrTEqPcRDE7OxGDY0efugGF1dtCtqYcUsX9wmD"),
    ("pw", "$5$saltsalt$0rl.MZtoLLPP3X0Rdl8riRnphIcAXJY27/aOAyK2hB5"),
    ("U*U", "$2b$04$abcdefghijklmnopqrstuuCFaEytnzrfaPZJKbS76hh9vqd9r8v2S"),
    ("pw", "$2b$04$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW"),
    ("", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
    ("pw", "$y$j75$saltsalt$3noX8BfvspORvyTLJpvzSCEe8VYTo40KwCpXxLpuU50"),
];

/// Of 72 and of 511 times `x`.
const LONG: [(usize, &str); 2] = [
    (72, "$2y$04$CCCCCCCCCCCCCCCCCCCCC.ug0A3dTXhy5U.dFjx/qguZ8I4CB77BC"),
    (511, "$5$rounds=1001$sixteencharsalt.$D/7Ntj3qmHq8GUWrQ1jOMrM9nvKZ7eCfTLgaLZJtUm8"),
];

#[test]
fn what_crypt_has_hashed_is_verified_and_nothing_else() {
    for (password, text) in HASHES {
        let hash = PasswordHash::parse(text).unwrap();
        assert!(hash.verify(password.as_bytes()), "{text}");
        assert!(!hash.verify(format!("{password}x").as_bytes()), "{text}");
        assert_eq!(hash.text(), *text);
    }
    for (length, text) in LONG {
        assert!(PasswordHash::parse(text).unwrap().verify(&vec![b'x'; length]), "{text}");
    }
    // bcrypt knows no more of a password, and everybody who writes one knows that.
    assert!(PasswordHash::parse(LONG[0].1).unwrap().verify(&[b'x'; 73]));
}

#[test]
fn what_is_no_hash_is_named_without_being_shown() {
    let sha = HASHES[0].1;
    for (text, expected) in [
        ("secret", "is no hash of a password; a password itself never stands here"),
        ("", "is no hash of a password"),
        ("{SHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "is a hash that is broken"),
        ("rqXexS6ZhobKA", "is a hash that is broken"),
        ("$apr1$x$y", "is hashed with MD5"),
        ("$1$x$y", "is hashed with MD5"),
        ("$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "is of a form that is not known"),
        (&sha[..sha.len() - 1], "is a hash that is cut off"),
        (&sha.replace("rounds=1000", "rounds=999"), "has rounds that are not 1000..1000000"),
        (&sha.replace("rounds=1000", "rounds=1000001"), "has rounds that are not 1000..1000000"),
        (&sha.replace("rounds=1000", "rounds=x"), "has rounds that are not 1000..1000000"),
        (&sha.replace("saltstring", "saltstringsaltstring"), "is a hash that is cut off"),
        ("$2b$15$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW", "has a cost that is not 4..14"),
        ("$2b$04$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09Mlzl", "is a hash that is cut off"),
        ("$2b$04$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09Mlzl!", "is a hash that is cut off"),
        ("$2b$4$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW", "is a hash that is cut off"),
        ("$2x$04$abcdefghijklmnopqrstuuyvPXIbu7xe6/CED2DzX8z6Si09MlzlW", "is of a form that is not known"),
        ("$y$jFT$saltsalt$3noX8BfvspORvyTLJpvzSCEe8VYTo40KwCpXxLpuU50", "takes more than 64 MiB"),
        ("$y$j9T.1$saltsalt$3noX8BfvspORvyTLJpvzSCEe8VYTo40KwCpXxLpuU50", "is a hash that is cut off"),
        ("$y$j75$$3noX8BfvspORvyTLJpvzSCEe8VYTo40KwCpXxLpuU50", "is a hash that is cut off"),
        ("$y$", "is a hash that is cut off"),
    ] {
        let error = PasswordHash::parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{text}: {error}");
        assert!(text.len() < 5 || !error.contains(text), "{text}: {error}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_text_makes_reading_panic(text in "[$]?(5|6|2b|y|1)?[$](rounds=[0-9]{1,12}[$]|04[$]|j[./0-9a-zA-Z]{2,8}[$])?[./0-9a-zA-Z$ä]{0,100}") {
        let _ = PasswordHash::parse(&text);
    }
}

#[test]
fn a_password_that_is_hashed_here_is_one_that_is_read_and_verified() {
    let hash = PasswordHash::of("pässwörd".as_bytes(), *b"twelve bytes").unwrap();
    let read = PasswordHash::parse(hash.text()).unwrap();
    assert!(read.verify("pässwörd".as_bytes()) && !read.verify(b"password"));
    let other = PasswordHash::of("pässwörd".as_bytes(), *b"other twelve").unwrap();
    assert!(other.verify("pässwörd".as_bytes()) && other.text() != hash.text());
}
