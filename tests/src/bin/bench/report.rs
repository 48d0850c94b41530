//! Medians, ratios, the table and the JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::places::Place;
use crate::works::{Goal, Unit, Work};

/// All measurements of a run.
#[derive(Debug)]
pub struct Report {
    values: BTreeMap<(&'static str, Place), Vec<f64>>,
    rounds: usize,
    quick: bool,
}

impl Report {
    pub fn new(rounds: usize, quick: bool) -> Self {
        Self {
            values: BTreeMap::new(),
            rounds,
            quick,
        }
    }

    pub fn add(&mut self, work: &Work, place: Place, value: f64) {
        self.values
            .entry((work.name, place))
            .or_default()
            .push(value);
    }

    fn median(&self, work: &Work, place: Place) -> Option<f64> {
        let mut values = self.values.get(&(work.name, place))?.clone();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        if values.len() % 2 == 1 {
            values.get(middle).copied()
        } else {
            Some((values.get(middle - 1)? + values.get(middle)?) / 2.0)
        }
    }

    /// The mount's figure as a share of another place's.
    fn ratio(&self, work: &Work, of: Place) -> Option<f64> {
        Some(self.median(work, Place::Lattice)? / self.median(work, of)?)
    }

    fn meets(&self, work: &Work, goal: &Goal) -> Option<bool> {
        let ratio = self.ratio(work, goal.of)?;
        Some(match work.unit {
            Unit::Seconds => ratio <= goal.bound,
            _ => ratio >= goal.bound,
        })
    }

    /// `None` where nothing is asked or something wasn't measured.
    fn met(&self, work: &Work) -> Option<bool> {
        let met: Vec<bool> = work
            .goals
            .iter()
            .filter_map(|goal| self.meets(work, goal))
            .collect();
        (!met.is_empty()).then(|| met.contains(&true))
    }

    pub fn all_met(&self, works: &[Work]) -> bool {
        works.iter().all(|work| self.met(work) != Some(false))
    }

    pub fn table(&self, works: &[Work]) -> String {
        let mut out = format!(
            "{:<28} {:>6} {:>11} {:>11} {:>11} {:>7} {:>7}  {:<24} ok\n",
            "work", "", "ext4", "floor", "lattice", "/ext4", "/floor", "target"
        );
        let figure = |value: Option<f64>| match value {
            None => "-".into(),
            Some(v) if v >= 100.0 => format!("{v:.0}"),
            Some(v) => format!("{v:.3}"),
        };
        let share = |value: Option<f64>| value.map_or("-".into(), |v| format!("{v:.2}"));
        for work in works {
            // Writing to a String can't fail.
            let _written = writeln!(
                out,
                "{:<28} {:>6} {:>11} {:>11} {:>11} {:>7} {:>7}  {:<24} {}",
                work.name,
                work.unit.name(),
                figure(self.median(work, Place::Ext4)),
                figure(self.median(work, Place::Floor)),
                figure(self.median(work, Place::Lattice)),
                share(self.ratio(work, Place::Ext4)),
                share(self.ratio(work, Place::Floor)),
                work.goals_text(),
                match self.met(work) {
                    None => "",
                    Some(true) => "yes",
                    Some(false) => "NO",
                }
            );
        }
        out
    }

    pub fn json(&self, works: &[Work]) -> Result<String> {
        let works: Vec<Value> = works.iter().map(|work| self.work_json(work)).collect();
        let uname = rustix::system::uname();
        let document = json!({
            "rounds": self.rounds,
            "quick": self.quick,
            "kernel": uname.release().to_string_lossy(),
            "cpus": std::thread::available_parallelism()?.get(),
            "works": works,
        });
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    fn work_json(&self, work: &Work) -> Value {
        let mut places = Map::new();
        for place in Place::ALL {
            if let Some(all) = self.values.get(&(work.name, place)) {
                let value = json!({"median": self.median(work, place), "all": all});
                places.insert(place.name().into(), value);
            }
        }
        json!({
            "work": work.name,
            "unit": work.unit.name(),
            "places": places,
            "of_ext4": self.ratio(work, Place::Ext4),
            "of_floor": self.ratio(work, Place::Floor),
            "target": work.goals_text(),
            "met": self.met(work),
        })
    }
}
