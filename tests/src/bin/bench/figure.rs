//! A figure that is measured on its own, what is asked of it, and what another program makes of the same work.

/// What is asked of a figure.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    AtMost(f64),
    AtLeast(f64),
    Nothing,
}

/// One row.
#[derive(Debug, Clone)]
pub struct Figure {
    pub name: String,
    pub unit: &'static str,
    pub value: f64,
    pub asked: Asked,
    /// The same work by another program, where it was there to be measured.
    pub beside: Option<Beside>,
}

/// Another program, and its figure.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    pub program: &'static str,
    pub value: f64,
}

impl Figure {
    pub fn new(name: impl Into<String>, unit: &'static str, value: f64, asked: Asked) -> Self {
        Self { name: name.into(), unit, value, asked, beside: None }
    }
}

/// The middle of some measurements, the mean of the two in the middle where their number is even; `None` of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values.get(middle).copied()
    } else {
        Some((values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0)
    }
}
