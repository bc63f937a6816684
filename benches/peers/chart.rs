//! The chart: a group of bars for each figure of CPU, each group to its own scale.

use std::fmt::Write;

use super::figures::{Figure, Table, number};

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 20.0;
/// Where bars begin, after the products' names.
const BARS: f64 = 162.0;
/// The longest bar; its number comes after it.
const LONGEST: f64 = 520.0;
const BAR: f64 = 14.0;
const LINE: f64 = 19.0;
const TITLE: f64 = 26.0;
const GAP: f64 = 18.0;
const TOP: f64 = 44.0;

const STYLE: &str = "text{font:13px system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;\
    fill:#24292f}.head{font-size:15px;font-weight:600}.group{font-weight:600}\
    .ground{fill:#ffffff}.ours{fill:#0969da}.peer0{fill:#6e7781}\
    .peer1{fill:#8c959f}.peer2{fill:#afb8c1}\
    @media (prefers-color-scheme: dark){text{fill:#e6edf3}.ground{fill:#0d1117}\
    .ours{fill:#2f81f7}.peer0{fill:#9ea7b3}.peer1{fill:#7d8590}\
    .peer2{fill:#5d6570}}";

pub fn svg(table: &Table) -> String {
    let mut at = TOP;
    let groups: String =
        Figure::CHART.into_iter().map(|figure| group(table, figure, &mut at)).collect();
    let height = at;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-labelledby=\"title desc\">\n\
         <title id=\"title\">CPU microseconds of all proxies for each request; less is better\
         </title>\n<desc id=\"desc\">{}</desc>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"head\" x=\"{MARGIN}\" y=\"28\">CPU µs of all proxies for each request; \
         less is better</text>\n{groups}</svg>\n",
        described(table)
    )
}

/// The same in words.
fn described(table: &Table) -> String {
    let group = |figure: Figure| {
        let bars = bars(table, figure);
        let bars =
            bars.iter().map(|(nth, value)| format!("{} {}", name(table, *nth), short(*value)));
        format!("{}: {}.", figure.short_title(), bars.collect::<Vec<_>>().join(", "))
    };
    Figure::CHART.map(group).join(" ")
}

fn bars(table: &Table, figure: Figure) -> Vec<(usize, f64)> {
    let products = 0..table.products().len();
    products.filter_map(|nth| Some((nth, table.median(figure, nth)?))).collect()
}

/// One figure's bars; `at` goes to where the next one begins.
fn group(table: &Table, figure: Figure, at: &mut f64) -> String {
    let bars = bars(table, figure);
    let most = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let mut text = format!(
        "<text class=\"group\" x=\"{MARGIN}\" y=\"{:.0}\">{}</text>\n",
        *at + 14.0,
        figure.short_title()
    );
    *at += TITLE;
    for (nth, value) in bars {
        let class = match nth {
            0..=2 => "ours".to_owned(),
            other => format!("peer{}", other - 3),
        };
        let (name, long) = (name(table, nth), LONGEST * value / most);
        let (base, end) = (*at + BAR - 3.0, BARS + long + 6.0);
        writeln!(
            text,
            "<text x=\"{MARGIN}\" y=\"{base:.0}\">{name}</text>\
             <rect class=\"{class}\" x=\"{BARS}\" y=\"{:.0}\" width=\"{long:.1}\" \
             height=\"{BAR}\" rx=\"2\"/>\
             <text x=\"{end:.1}\" y=\"{base:.0}\">{}</text>",
            *at,
            short(value)
        )
        .expect("a string takes everything");
        *at += LINE;
    }
    *at += GAP;
    text
}

fn name(table: &Table, nth: usize) -> &str {
    &table.products()[nth]
}

fn short(value: f64) -> String {
    number(value, usize::from(value < 100.0))
}
