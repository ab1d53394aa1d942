//! Variables, by name and scope.

use super::*;

#[test]
fn names_say_the_scope_and_have_one_spelling() {
    let cases = [
        ("tenant", Some((Scope::Request, "tenant"))),
        ("request.tenant", Some((Scope::Request, "tenant"))),
        ("response.x_1", Some((Scope::Response, "x_1"))),
        ("session.User", Some((Scope::Session, "User"))),
        ("", None),
        ("session.", None),
        ("txn.x", None),
        ("a.b.c", None),
        ("a-b", None),
        ("request.request.x", None),
    ];
    for (text, expected) in cases {
        let parsed = VariableName::parse(text);
        let parsed = parsed.as_ref().map(|parsed| (parsed.scope, parsed.name.as_str()));
        assert_eq!(parsed, expected, "{text}");
    }
    assert_eq!(VariableName::parse("request.x").unwrap().to_string(), "x");
    assert_eq!(VariableName::parse("session.x").unwrap().to_string(), "session.x");
}

#[test]
fn a_variable_is_what_was_set_last_in_its_scope() {
    let mut names = Names::default();
    let of_request = names.declare(&VariableName::parse("x").unwrap(), Stage::Request);
    let of_session = names.declare(&VariableName::parse("session.x").unwrap(), Stage::Request);
    assert_eq!(names.declare(&VariableName::parse("request.x").unwrap(), Stage::Request), of_request);
    let mut world = World::new();
    let place = place(&names, Stage::Request, Text::Field);
    let text = "{var.x}|{var.request.x}|{var.session.x|default('-')}";
    assert_eq!(world.render(text, &place), "||-");
    assert!(world.variables.set(of_request, b"first"));
    assert!(world.variables.set(of_request, b"2"));
    assert!(world.session.set(of_session, b"user"));
    assert_eq!(world.render(text, &place), "2|2|user");
    world.variables.clear();
    assert_eq!(world.render(text, &place), "||user");
    world.session.unset(of_session);
    assert_eq!(world.render(text, &place), "||-");
}

#[test]
fn a_value_that_is_too_long_is_not_kept_in_half() {
    let mut names = Names::default();
    let id = names.declare(&VariableName::parse("x").unwrap(), Stage::Request);
    let mut variables = Variables::default();
    assert!(variables.set(id, &[b'a'; 16 * 1024]));
    assert!(!variables.set(id, &[b'a'; 16 * 1024 + 1]));
    assert_eq!(variables.value(id), None);
}

#[test]
fn a_variable_is_known_only_where_it_can_have_been_set() {
    let mut names = Names::default();
    for name in ["x", "response.y", "session.z"] {
        names.declare(&VariableName::parse(name).unwrap(), Stage::Request);
    }
    for (name, stage) in [
        ("late", Stage::Response),
        ("session.late", Stage::Response),
        ("both", Stage::Response),
        ("both", Stage::Request),
    ] {
        names.declare(&VariableName::parse(name).unwrap(), stage);
    }
    let exists = |text: &str, stage| Template::parse(text, &place(&names, stage, Text::Plain)).is_ok();
    for (text, expected) in [
        ("{var.x}", [false, true, true]),
        ("{var.response.y}", [false, false, true]),
        ("{var.session.z}", [true, true, true]),
        ("{var.y}", [false, false, false]),
        ("{var.late}", [false, false, true]),
        ("{var.both}", [false, true, true]),
        ("{var.session.late}", [true, true, true]),
    ] {
        let stages = [Stage::Connection, Stage::Request, Stage::Response];
        assert_eq!(stages.map(|stage| exists(text, stage)), expected, "{text}");
    }
}

#[test]
fn forgotten_variables_leave_room_and_no_value() {
    let mut names = Names::default();
    let ids = ["a", "b", "c"].map(|name| names.declare(&VariableName::parse(name).unwrap(), Stage::Request));
    let mut variables = Variables::default();
    let values = |variables: &Variables| ids.map(|id| variables.value(id).map(<[u8]>::to_vec));
    for id in ids {
        variables.set(id, b"first");
    }
    variables.unset(ids[0]);
    assert_eq!(values(&variables), [None, Some(b"first".to_vec()), Some(b"first".to_vec())]);
    variables.set(ids[0], b"again");
    assert_eq!(variables.value(ids[0]), Some(&b"again"[..]));
    variables.clear();
    assert_eq!(values(&variables), [None, None, None]);
    variables.set(ids[2], b"2");
    variables.set(ids[1], b"");
    assert_eq!(values(&variables), [None, Some(Vec::new()), Some(b"2".to_vec())]);
}
