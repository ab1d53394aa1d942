//! Lists of ciphers as OpenSSL has them (ciphers(1)), over those of TLS 1.2 that are there: each has ECDHE.

use std::cmp::Reverse;

/// In OpenSSL's own order.
const KNOWN: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
];

/// What is left of a list, in its order. Words that OpenSSL does not know mean nothing to it either.
pub(super) fn chosen(list: &str) -> Vec<&'static str> {
    let (mut left, mut killed): (Vec<&'static str>, Vec<&'static str>) = (Vec::new(), Vec::new());
    for word in list.split([':', ',', ';', ' ']) {
        let (operator, names) = match word.chars().next() {
            Some(first @ ('!' | '-' | '+' | '@')) => (first, &word[1..]),
            _ => (' ', word),
        };
        let meant: Vec<_> = KNOWN.into_iter().filter(|cipher| is_meant(names, cipher)).collect();
        match operator {
            '!' => {
                left.retain(|cipher| !meant.contains(cipher));
                killed.extend(meant);
            }
            '-' => left.retain(|cipher| !meant.contains(cipher)),
            '+' => left.sort_by_key(|cipher| meant.contains(cipher)),
            '@' if names == "STRENGTH" => left.sort_by_key(|cipher| Reverse(!cipher.contains("AES128"))),
            '@' => {}
            _ => {
                let new = meant.iter().filter(|cipher| !killed.contains(cipher));
                let new: Vec<_> = new.filter(|cipher| !left.contains(cipher)).copied().collect();
                left.extend(new);
            }
        }
    }
    left
}

/// `ECDHE+AESGCM` is what both words mean.
fn is_meant(words: &str, cipher: &str) -> bool {
    words.split('+').all(|word| match word {
        "ALL" | "DEFAULT" | "HIGH" | "ECDHE" | "EECDH" | "kECDHE" | "kEECDH" | "ECDH" | "TLSv1.2" => true,
        "FIPS" | "AES" | "AESGCM" => !cipher.contains("CHACHA20"),
        "AES128" | "AES256" | "CHACHA20" => cipher.contains(word),
        "aRSA" => cipher.contains("-RSA-"),
        "aECDSA" | "ECDSA" => cipher.contains("-ECDSA-"),
        name => name == cipher,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The lists that people have: Mozilla's, Debian's, cipherlist.eu's, old ones, and what is left of each in OpenSSL.
    #[test]
    fn lists_mean_what_they_mean_to_openssl() {
        for list in [
            "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384",
            "EECDH+AESGCM:EDH+AESGCM:AES256+EECDH:AES256+EDH",
            "ECDH+AESGCM:DH+AESGCM:ECDH+AES256:DH+AES256:ECDH+AES128:DH+AES:RSA+AESGCM:RSA+AES:!aNULL:!MD5:!DSS",
            "ECDHE+CHACHA20:ECDHE+AESGCM:!aNULL",
            "kEECDH+aRSA+AES:kRSA+AES:+AES256:RC4-SHA:!kEDH:!LOW:!EXP:!MD5:!aNULL:!eNULL",
            "HIGH:!aNULL:!MD5",
            "HIGH:-AES256:@STRENGTH",
            "ALL:!ECDSA",
            "ALL:!AES256:AES256",
            "DEFAULT:@SECLEVEL=2",
            "CHACHA20:AES128:nonsense:AES256:+aRSA",
            "FIPS:!AES128",
            "ECDHE-RSA-AES128-GCM-SHA256,ECDHE-RSA-AES256-GCM-SHA384 ECDHE-ECDSA-AES256-GCM-SHA384",
            "AES128-SHA:AES256-SHA",
        ] {
            let output = Command::new("openssl")
                .args(["ciphers", list])
                .output()
                .expect("the package openssl is missing");
            let theirs = String::from_utf8(output.stdout).unwrap();
            let theirs: Vec<_> = theirs.trim().split(':').filter(|name| KNOWN.contains(name)).collect();
            assert_eq!(chosen(list), theirs, "{list}");
        }
    }
}
