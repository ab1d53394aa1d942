use super::*;

fn set(patterns: &[&str]) -> HostSet {
    HostSet::new(patterns.iter().map(|text| HostPattern::parse(text).unwrap()).collect())
}

#[test]
fn a_host_matches_whatever_its_case_its_port_and_a_dot_at_its_end() {
    let names = set(&["www.Example.com", "2001:DB8::1", "192.0.2.1", "localhost"]);
    for host in [
        "www.example.com",
        "WWW.EXAMPLE.COM",
        "www.example.com:8080",
        "www.example.com.",
        "www.example.com.:80",
        "[2001:db8::1]",
        "[2001:DB8::1]:443",
        "[2001:db8:0:0::0.0.0.1]",
        "192.0.2.1:80",
        "localhost",
    ] {
        assert!(names.contains(host.as_bytes()), "{host}");
    }
    let long = format!("{}www.example.com", "a.".repeat(200));
    for host in ["example.com", "www.example.com..", "www.example.co", "awww.example.com", "", ":80", &long] {
        assert!(!names.contains(host.as_bytes()), "{host}");
    }
}

#[test]
fn a_wildcard_matches_every_name_below_and_not_the_domain_itself() {
    let names = set(&["*.example.com", "*.b.example.org"]);
    for host in ["a.example.com", "A.B.Example.com.:80", "x.b.example.org"] {
        assert!(names.contains(host.as_bytes()), "{host}");
    }
    let long = format!("{}.example.com", "a".repeat(400));
    let labels = format!("{}example.com", "a.".repeat(200));
    assert!(names.contains(labels.as_bytes()) && !names.contains(b"a".repeat(400).as_slice()));
    assert!(names.contains(long.as_bytes()), "whatever the length of what stands before");
    for host in ["example.com", "aexample.com", "b.example.org", "x.c.example.org", ".com", "com"] {
        assert!(!names.contains(host.as_bytes()), "{host}");
    }
}

#[test]
fn the_first_pattern_wins_however_it_matches() {
    let mut index = HostIndex::<usize>::default();
    for (position, text) in
        ["*.a.example.com", "x.a.example.com", "y.example.com", "*.example.com"].iter().enumerate()
    {
        index.add(&HostPattern::parse(text).unwrap(), position);
    }
    let find = |host: &str| index.find(host.as_bytes());
    assert_eq!(find("x.a.example.com"), Some(0));
    assert_eq!(find("y.example.com"), Some(2));
    assert_eq!(find("z.example.com"), Some(3));
    assert_eq!(find("example.com"), None);
}

#[test]
fn a_thousand_hosts_cost_as_many_lookups_as_one() {
    let mut steps = Vec::new();
    for hosts in [1, 200, 1000] {
        let mut index = HostIndex::<usize>::default();
        for number in 0..hosts {
            index.add(&HostPattern::parse(&format!("site{number}.example.com")).unwrap(), number);
        }
        let last = format!("site{}.example.com", hosts - 1);
        let (found, lookups) = index.find_counting(last.as_bytes());
        assert_eq!(found, Some(hosts - 1));
        steps.push(lookups);
        index.add(&HostPattern::parse("*.example.net").unwrap(), hosts);
        assert_eq!(index.find_counting(b"a.b.c.d.example.net"), (Some(hosts), 2));
        assert_eq!(index.find_counting(b"unknown.example.org"), (None, 2));
    }
    assert_eq!(steps, [1, 1, 1]);
}

#[test]
fn what_is_no_host_is_refused() {
    for text in
        ["", "a b", "*", "a.*.com", "a..b", "www.example.com:80", "*.[::1]", "a/b", "ä.de", "[::1", ".a"]
    {
        assert!(HostPattern::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_pattern_covers_what_it_always_matches() {
    let covers = |a: &str, b: &str| HostPattern::parse(a).unwrap().covers(&HostPattern::parse(b).unwrap());
    assert!(covers("*.example.com", "www.example.com"));
    assert!(covers("*.example.com", "*.a.example.com"));
    assert!(covers("*.example.com", "*.example.com"));
    assert!(!covers("*.example.com", "example.com"));
    assert!(!covers("*.example.com", "badexample.com"));
    assert!(!covers("www.example.com", "*.example.com"));
}

#[test]
fn a_few_patterns_and_many_match_the_same_hosts() {
    let few = ["www.Example.com", "*.example.org", "2001:DB8::1", "*.com"];
    let more = [&few[..], &["other.example.net", "*.b.example.net"]].concat();
    let (few, more) = (set(&few), set(&more));
    assert!(few.index.is_none() && more.index.is_some());
    let long = format!("{}www.example.com", "a.".repeat(200));
    for host in [
        "www.example.com",
        "WWW.EXAMPLE.COM.:80",
        "x.example.org",
        "a.b.EXAMPLE.org:1",
        "example.org",
        "xexample.org",
        "[2001:db8:0::1]:443",
        "2001:db8::1",
        "com",
        ".com",
        "",
        ".",
        ":80",
        "a.com",
        "www.example.com..",
        &long,
    ] {
        assert_eq!(few.contains(host.as_bytes()), more.contains(host.as_bytes()), "{host}");
    }
}

#[test]
fn what_is_about_a_host_is_found_in_order_and_once() {
    let mut rules = OfHosts::default();
    let sets = [
        &["a.example.com"][..],
        &["*.example.com"],
        &["b.example.com"],
        &["A.example.com", "*.example.com"],
        &["*.com"],
    ];
    for (place, patterns) in (0..).zip(sets) {
        assert!(rules.add(&set(patterns), place));
    }
    let of = |host: &str| rules.of(host.as_bytes()).collect::<Vec<_>>();
    assert_eq!(of("a.example.com:80"), [0, 1, 3, 4]);
    assert_eq!(of("b.example.com"), [1, 2, 3, 4]);
    assert_eq!(of("example.com"), [4]);
    assert_eq!(of("example.org"), [0; 0]);
}

#[test]
fn more_wildcards_above_a_host_than_are_looked_at_are_not_taken() {
    let mut rules = OfHosts::default();
    let deep = |labels: usize| set(&[&format!("*.{}com", "a.".repeat(labels))]);
    assert!((0..7).all(|labels| rules.add(&deep(labels), labels.try_into().unwrap())));
    assert!(!rules.add(&deep(7), 7));
    assert!(rules.add(&set(&["a.a.a.a.a.a.a.com"]), 8));
    let found: Vec<_> = rules.of(b"a.a.a.a.a.a.a.com").collect();
    assert_eq!(found, [0, 1, 2, 3, 4, 5, 6, 8]);
}

#[test]
fn whoever_covers_a_condition_is_among_those_that_may() {
    let host = |patterns: &[&str]| Condition::Host(set(patterns));
    let path = || Condition::Method(vec!["GET".into()]);
    let conditions = [
        host(&["a.example.com"]),
        host(&["*.example.com", "b.example.org"]),
        Condition::All(vec![path(), host(&["a.example.com", "b.example.org"])]),
        Condition::Any(vec![host(&["a.example.com"]), host(&["b.example.org"])]),
        Condition::All(vec![host(&["*.b.example.com"])]),
        Condition::Not(Box::new(host(&["a.example.com"]))),
        Condition::ALWAYS,
        host(&["*.com"]),
        host(&[]),
        path(),
    ];
    let mut coverers = Coverers::default();
    conditions.iter().enumerate().for_each(|(place, one)| coverers.add(one, place));
    for (place, one) in conditions.iter().enumerate() {
        let may = coverers.of(one);
        assert!(may.is_sorted_by(|one, two| one < two) && may.contains(&place), "{one:?}: {may:?}");
        for (other, condition) in conditions.iter().enumerate() {
            assert!(!condition.covers(one) || may.contains(&other), "{condition:?} covers {one:?}: {may:?}");
        }
    }
    assert!(!coverers.of(&host(&["b.example.org"])).contains(&0), "what is for another host is passed over");
}
