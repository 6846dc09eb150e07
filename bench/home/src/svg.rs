//! Plots as SVG: axes, bars, dots and lines, with nothing but text. Equal figures give equal files.

use std::fmt::Write as _;

/// Of the whole picture, units.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 82.0;
/// Blue, orange, green, grey: told apart by people who see colours otherwise too.
pub(crate) const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#777777"];

/// How the values of an axis lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    Linear,
    Log,
}

/// An axis over a range of values.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    pub(crate) name: String,
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) scale: Scale,
    /// Values with their words; none: some round ones.
    pub(crate) ticks: Vec<(f64, String)>,
    /// Long words stand aslant.
    pub(crate) aslant: bool,
}

impl Axis {
    pub(crate) fn linear(name: &str, from: f64, to: f64) -> Self {
        let (from, to) = (from.min(0.0), if to > from { to } else { from + 1.0 });
        Self { name: name.to_owned(), from, to, scale: Scale::Linear, ticks: round_ticks(from, to), aslant: false }
    }

    pub(crate) fn log(name: &str, from: f64, to: f64) -> Self {
        let mut ticks = Vec::new();
        let mut tick = 10f64.powf(from.log10().ceil());
        while tick <= to {
            ticks.push((tick, word(tick)));
            tick *= 10.0;
        }
        Self { name: name.to_owned(), from, to, scale: Scale::Log, ticks, aslant: false }
    }

    pub(crate) fn with_ticks(self, ticks: Vec<(f64, String)>) -> Self {
        Self { ticks, ..self }
    }

    /// With words that do not fit beside each other.
    pub(crate) fn with_names(self, ticks: Vec<(f64, String)>) -> Self {
        Self { ticks, aslant: true, ..self }
    }

    fn part(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value.max(self.from).log10() - self.from.log10()) / (self.to.log10() - self.from.log10()),
        }
    }
}

/// A picture that is being drawn.
#[derive(Debug)]
pub(crate) struct Plot {
    x: Axis,
    y: Axis,
    body: String,
    legend: Vec<(String, &'static str)>,
    title: String,
}

impl Plot {
    pub(crate) fn new(title: &str, x: Axis, y: Axis) -> Self {
        Self { x, y, body: String::new(), legend: Vec::new(), title: title.to_owned() }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (wide, high) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        (LEFT + self.x.part(x) * wide, TOP + (1.0 - self.y.part(y).clamp(0.0, 1.0)) * high)
    }

    pub(crate) fn named(&mut self, name: &str, colour: &'static str) {
        self.legend.push((name.to_owned(), colour));
    }

    /// Bars from `from` to `to` on the x axis, from zero to their height.
    pub(crate) fn bars(&mut self, bars: impl IntoIterator<Item = (f64, f64, f64)>, colour: &str) {
        for (from, to, height) in bars {
            let ((left, end), (right, foot)) = (self.at(from, height), self.at(to, 0.0));
            let (top, high) = (end.min(foot), (end - foot).abs());
            let _infallible = writeln!(
                self.body,
                r#"<rect x="{left:.1}" y="{top:.1}" width="{:.1}" height="{high:.1}" fill="{colour}"/>"#,
                right - left
            );
        }
    }

    pub(crate) fn line(&mut self, points: impl IntoIterator<Item = (f64, f64)>, colour: &str, dashed: bool) {
        let points: Vec<String> = points
            .into_iter()
            .map(|(x, y)| {
                let (x, y) = self.at(x, y);
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let dashes = if dashed { r#" stroke-dasharray="6 4""# } else { "" };
        let _infallible = writeln!(
            self.body,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>"#,
            points.join(" ")
        );
    }

    pub(crate) fn dots(&mut self, points: impl IntoIterator<Item = (f64, f64)>, colour: &str) {
        for (x, y) in points {
            let (x, y) = self.at(x, y);
            let _infallible =
                writeln!(self.body, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{colour}" fill-opacity="0.75"/>"#);
        }
    }

    /// The whole file.
    pub(crate) fn finish(self) -> String {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
            escaped(&self.title)
        );
        let mut along = LEFT;
        for (name, colour) in &self.legend {
            let _infallible = writeln!(
                out,
                r#"<rect x="{along:.1}" y="34" width="12" height="12" fill="{colour}"/><text x="{:.1}" y="44">{}</text>"#,
                along + 17.0,
                escaped(name)
            );
            along += 40.0 + 6.6 * name.chars().count() as f64;
        }
        for (value, name) in &self.y.ticks {
            let (_, y) = self.at(self.x.from, *value);
            let _infallible = writeln!(
                out,
                r##"<path d="M{LEFT} {y:.1}H{right}" stroke="#dddddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"##,
                LEFT - 6.0,
                y + 4.0,
                escaped(name)
            );
        }
        for (value, name) in &self.x.ticks {
            let (x, _) = self.at(*value, self.y.from);
            let (y, name) = (bottom + 17.0, escaped(name));
            let _infallible = if self.x.aslant {
                let (x, y) = (x + 4.0, y - 6.0);
                writeln!(
                    out,
                    r#"<text transform="translate({x:.1} {y:.1}) rotate(-30)" text-anchor="end">{name}</text>"#
                )
            } else {
                writeln!(out, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle">{name}</text>"#)
            };
        }
        let (_, zero) = self.at(self.x.from, 0.0f64.max(self.y.from));
        let _infallible = writeln!(
            out,
            "{}<path d=\"M{LEFT} {zero:.1}H{right}M{LEFT} {TOP}V{bottom}\" stroke=\"black\" fill=\"none\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n</svg>",
            self.body,
            (LEFT + right) / 2.0,
            if self.x.aslant { HEIGHT - 10.0 } else { bottom + 44.0 },
            escaped(&self.x.name),
            (TOP + bottom) / 2.0,
            escaped(&self.y.name)
        );
        out
    }
}

fn round_ticks(from: f64, to: f64) -> Vec<(f64, String)> {
    let rough = (to - from) / 6.0;
    let unit = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * unit).find(|step| *step >= rough).unwrap_or(10.0 * unit);
    let first = (from / step).ceil() as i64;
    (first..)
        .map(|n| n as f64 * step)
        .take_while(|tick| *tick <= to + step * 1e-9)
        .map(|tick| (tick, word(tick)))
        .collect()
}

fn word(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        let ticks = |from, to| round_ticks(from, to).into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" ");
        assert_eq!(ticks(0.0, 1.0), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(ticks(-3.0, 40.0), "0 10 20 30 40");
        assert_eq!(Axis::log("", 0.05, 300.0).ticks.len(), 4);
    }
}
