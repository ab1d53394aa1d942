//! The picture: what lbctl needs for each case beside the best of the others, which is 1.

use std::fmt::Write as _;

use crate::{figures::Run, peers::Peer, statistics::Ratio};

const ROW: usize = 26;
const LEFT: usize = 100;
const WIDTH: usize = 520;
const TOP: usize = 44;
/// Further to the right than this no bar goes.
const MOST: f64 = 1.5;

/// As SVG.
pub(crate) fn svg(run: &Run) -> String {
    let rows: Vec<(&str, Ratio)> =
        run.cases.iter().filter_map(|case| Some((case.id.as_str(), case.ratio(Peer::Lbctl)?.0))).collect();
    let height = TOP + rows.len() * ROW + 40;
    let x = |ratio: f64| LEFT as f64 + ratio.clamp(0.0, MOST) / MOST * WIDTH as f64;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {height}\" width=\"{0}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"15\">lbctl's processor time for each unit of work; the best of HAProxy and nginx is 1</text>\n",
        LEFT + WIDTH + 70
    );
    for (row, (id, ratio)) in rows.iter().enumerate() {
        let y = TOP + row * ROW;
        let middle = y + 10;
        let colour = if ratio.median <= 1.0 { "#2a7f62" } else { "#c0562f" };
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{id}</text>\
             <rect x=\"{LEFT}\" y=\"{}\" width=\"{:.1}\" height=\"16\" fill=\"{colour}\"/>\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#222\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{1}\">{:.2}</text>",
            LEFT - 8,
            y + 14,
            y + 2,
            x(ratio.median) - LEFT as f64,
            x(ratio.low),
            x(ratio.high),
            LEFT + WIDTH + 10,
            ratio.median,
        );
    }
    let bottom = TOP + rows.len() * ROW;
    for tick in [0.0, 0.5, 1.0, MOST] {
        let dash = if tick == 1.0 { "" } else { " stroke-dasharray=\"2 4\"" };
        let _ = writeln!(
            text,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1}\" y2=\"{bottom}\" stroke=\"#888\"{dash}/>\
             <text x=\"{0:.1}\" y=\"{2}\" text-anchor=\"middle\">{tick}</text>",
            x(tick),
            TOP - 6,
            bottom + 18
        );
    }
    text + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::made_up::{figures, run};

    #[test]
    fn each_case_has_a_bar_as_long_as_its_ratio() {
        let peers = |cost| vec![(Peer::Lbctl, cost, 5), (Peer::Nginx12, &[10.0][..], 5)];
        let run = run(vec![figures("a", &peers(&[7.5])), figures("c", &peers(&[90.0]))]);
        let text = svg(&run);
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"), "{text}");
        assert!(
            text.contains("<line x1=\"360.0\" x2=\"360.0\" y1=\"54\" y2=\"54\""),
            "the spread is on its bar: {text}"
        );
        // 0.75 of 1.5 is half of 520; 9 is cut.
        assert!(text.contains(">a</text><rect x=\"100\" y=\"46\" width=\"260.0\""), "{text}");
        assert!(
            text.contains(">c</text><rect x=\"100\" y=\"72\" width=\"520.0\"")
                && text.contains(">9.00</text>"),
            "{text}"
        );
    }
}
