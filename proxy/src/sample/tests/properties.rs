//! What holds for every text and every value.

use proptest::prelude::*;

use super::*;
use crate::http::{head::is_field_content, target::is_uri};

/// Text that is often nearly a template.
fn template_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("|".to_owned()),
        Just("client.ip".to_owned()),
        Just("request.header.x".to_owned()),
        Just("field(2,\":\")".to_owned()),
        Just("regsub('(a)', '$1')".to_owned()),
        Just("(".to_owned()),
        Just("'".to_owned()),
        Just("\\".to_owned()),
        Just("{request.cookie.v|url_decode}".to_owned()),
        any::<String>(),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// A chain of functions, each with arguments as the table shows them.
fn functions() -> impl Strategy<Value = String> {
    let function = (0..FUNCTIONS.len()).prop_map(|index| FUNCTIONS[index].usage.to_owned());
    prop::collection::vec(function, 0..4)
        .prop_map(|chain| chain.iter().map(|function| format!("|{function}")).collect())
}

fn text_of(index: usize) -> Text {
    [Text::Plain, Text::Field, Text::Location, Text::Path, Text::Query, Text::Content][index]
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_every_fault_is_within_it(text in template_text(), becomes in 0..6usize) {
        let names = Names::default();
        for stage in [Stage::Connection, Stage::Request, Stage::Response] {
            if let Err(error) = Template::parse(&text, &place(&names, stage, text_of(becomes))) {
                prop_assert!(text.get(error.range.clone()).is_some(), "{:?} of {:?}", error, text);
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn no_value_yields_bytes_that_are_forbidden_where_it_is_put(
        value in prop::collection::vec(any::<u8>(), 0..200),
        chain in functions(),
    ) {
        let mut world = World::new();
        world.request.cookies = vec![(b"v".to_vec(), value)];
        let names = Names::new(vec!["NAME".to_owned()]);
        for becomes in [Text::Field, Text::Location, Text::Path, Text::Query] {
            let text = format!("a{{request.cookie.v{chain}}}b");
            let template = Template::parse(&text, &place(&names, Stage::Request, becomes)).unwrap();
            let mut out = Vec::new();
            template.render(&world.facts(), &mut out);
            let is_fine = match becomes {
                Text::Field => is_field_content(&out),
                Text::Path => is_uri(&out) && !out.contains(&b'?'),
                Text::Query => is_uri(&out),
                _ => out.iter().all(u8::is_ascii_graphic),
            };
            prop_assert!(is_fine, "{:?} {}: {:?}", becomes, text, String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn doubled_braces_are_the_text_itself(text in "[^\\p{Cc}]*") {
        let names = Names::default();
        let doubled = text.replace('{', "{{").replace('}', "}}");
        let template = Template::parse(&doubled, &place(&names, Stage::Request, Text::Field)).unwrap();
        prop_assert_eq!(template.as_literal(), Some(text.as_bytes()));
    }

    #[test]
    fn decoding_undoes_encoding(value in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut world = World::new();
        world.request.cookies = vec![(b"v".to_vec(), value.clone())];
        let names = Names::default();
        for pair in ["base64|base64_decode", "url_encode|url_decode"] {
            let text = format!("{{request.cookie.v|{pair}}}");
            let expression = Expression::parse(&text, &place(&names, Stage::Request, Text::Plain)).unwrap();
            expression.with(&world.facts(), |out| assert_eq!(out, Some(value.as_slice()), "{pair}"));
        }
    }
}
