use proptest::prelude::*;

use super::*;

fn values(page: &Page<'_>, name: &str) -> Vec<f64> {
    page.named(name).map(|sample| sample.value).collect()
}

#[test]
fn families_have_their_type_help_and_samples() {
    let page = Page::parse(
        "# HELP a_total What \\\\ a\\nis.\n# TYPE a_total counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3.5e+3\n\
         # TYPE b histogram\nb_sum 1\nb_bucket{le=\"+Inf\"} 2\nb_count 2\nb_created 1.7e9\n",
    );
    let [a, b, created] = &page.families[..] else { panic!("{page:?}") };
    assert_eq!((a.name, a.kind, a.help.as_deref()), ("a_total", Kind::Counter, Some("What \\ a\nis.")));
    assert_eq!(a.samples.len(), 2);
    assert_eq!((b.name, b.kind, b.samples.len()), ("b", Kind::Histogram, 3));
    assert_eq!((created.name, created.kind), ("b_created", Kind::Untyped));
    assert_eq!(values(&page, "a_total"), [2.0, 3500.0]);
    assert_eq!(page.broken, 0);
}

#[test]
fn label_values_may_hold_anything() {
    let text = r#"m{a="x}y",b="{'k': 'v'}",c="\"q\" \\ \n \x",d="",} 1"#;
    let page = Page::parse(text);
    let sample = page.samples().next().unwrap();
    let label = |name| sample.label(name).unwrap();
    assert_eq!((label("a"), label("b")), ("x}y", "{'k': 'v'}"));
    assert_eq!((label("c"), label("d")), ("\"q\" \\ \n \\x", ""));
    assert_eq!(sample.label("e"), None);
}

#[test]
fn numbers_are_those_of_go_and_python() {
    let page = Page::parse("a NaN\nb +Inf\nc -Inf\nd -nan\ne 8.128902e+06\nf\t 12 \ng 3 1700000000123\n");
    let value = |name| values(&page, name)[0];
    assert!(value("a").is_nan() && value("d").is_nan());
    assert_eq!((value("b"), value("c")), (f64::INFINITY, f64::NEG_INFINITY));
    assert_eq!((value("e"), value("f"), value("g")), (8_128_902.0, 12.0, 3.0));
    assert_eq!(page.named("g").next().unwrap().timestamp, Some(1_700_000_000_123));
}

#[test]
fn an_example_after_a_value_is_no_mistake() {
    let page = Page::parse("a_bucket{le=\"1\"} 3 # {trace_id=\"x\"} 0.5 1.7e9\n# EOF\n");
    assert_eq!((values(&page, "a_bucket"), page.broken), (vec![3.0], 0));
}

#[test]
fn broken_lines_are_counted_and_the_rest_stands() {
    let broken =
        ["a", "a b", "a{", "a{x} 1", "a{x=\"} 1", "1a 2", "a 1 2 3", "a{x=\"1\"}", "# TYPE", "<html>"];
    let text = format!("before 1\n{}\nafter 2\n", broken.join("\n"));
    let page = Page::parse(&text);
    assert_eq!(page.broken, broken.len(), "{page:?}");
    assert_eq!(page.samples().count(), 2);
}

#[test]
fn histograms_of_several_series_are_one() {
    let page = Page::parse(
        "h_bucket{e=\"0\",le=\"0.5\"} 1\nh_bucket{e=\"0\",le=\"2\"} 3\nh_bucket{e=\"0\",le=\"+Inf\"} 4\n\
         h_count{e=\"0\"} 4\nh_sum{e=\"0\"} 9\n\
         h_bucket{e=\"1\",le=\"0.5\"} 2\nh_bucket{e=\"1\",le=\"1\"} 2\nh_bucket{e=\"1\",le=\"2.0\"} 2\n\
         h_count{e=\"1\"} 2\nh_sum{e=\"1\"} 0.5\n",
    );
    let all = page.histogram("h", |_| true).unwrap();
    assert_eq!(all.buckets, [(0.5, 3.0), (2.0, 5.0)]);
    assert_eq!((all.sum, all.count), (9.5, 6.0));
    let one = page.histogram("h", |sample| sample.label("e") == Some("0")).unwrap();
    assert_eq!((one.buckets.len(), one.count), (2, 4.0));
}

#[test]
fn a_histogram_that_is_cut_off_is_none() {
    assert_eq!(Page::parse("h_bucket{le=\"1\"} 3\nh_bucket{le=\"2\"} 3").histogram("h", |_| true), None);
}

proptest! {
    #[test]
    fn any_bytes_are_a_page(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let page = Page::parse(&text);
        prop_assert!(page.samples().count() + page.broken <= text.lines().count());
    }

    /// Arbitrary bytes seldom come near a sample; these characters do.
    #[test]
    fn no_near_miss_panics(text in r#"[a-b#{}="\\ ,\n0-1\t.é]{0,80}"#) {
        let page = Page::parse(&text);
        let _ = page.histogram("a", |_| true);
        prop_assert!(page.samples().count() + page.broken <= text.lines().count());
    }

    #[test]
    fn what_is_written_is_read(name in "[a-z_:][a-z0-9_:]{0,9}", label in "\\PC{0,12}", value in any::<f64>()) {
        let escaped = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let text = format!("{name}{{l=\"{escaped}\"}} {value}");
        let page = Page::parse(&text);
        let sample = page.samples().next().unwrap();
        prop_assert_eq!((sample.name, sample.label("l")), (name.as_str(), Some(label.as_str())));
        prop_assert!(sample.value == value || value.is_nan());
    }
}
