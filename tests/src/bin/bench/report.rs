//! Medians, ratios, the table and the JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::figure::{Asked, Beside, Figure, median};
use crate::keys::Measured;
use crate::mounted_keys::Mounted;
use crate::places::Place;
use crate::works::{Goal, Unit, Work};

/// A figure of the mount or the engine alone.
#[derive(Debug)]
struct Fact {
    name: String,
    unit: &'static str,
    value: f64,
    asked: Asked,
    target: String,
    /// Of the same work by another program.
    beside: Option<Beside>,
}

impl Fact {
    fn met(&self) -> Option<bool> {
        match self.asked {
            Asked::AtMost(bound) => Some(self.value <= bound),
            Asked::AtLeast(bound) => Some(self.value >= bound),
            Asked::Nothing => None,
        }
    }
}

/// All measurements of a run.
#[derive(Debug)]
pub struct Report {
    facts: Vec<Fact>,
    values: BTreeMap<(&'static str, Place), Vec<f64>>,
    rounds: usize,
    quick: bool,
}

impl Report {
    pub fn new(rounds: usize, quick: bool) -> Self {
        Self { facts: Vec::new(), values: BTreeMap::new(), rounds, quick }
    }

    pub fn add(&mut self, work: &Work, place: Place, value: f64) {
        self.values.entry((work.name, place)).or_default().push(value);
    }

    /// Nodes side by side, or the HTTP listener.
    pub fn add_figures(&mut self, figures: Vec<Figure>) {
        for figure in figures {
            let target = match figure.asked {
                Asked::AtMost(bound) => format!("<= {bound}"),
                Asked::AtLeast(bound) => format!(">= {bound}"),
                Asked::Nothing => String::new(),
            };
            self.facts.push(Fact {
                name: figure.name,
                unit: figure.unit,
                value: figure.value,
                asked: if self.quick { Asked::Nothing } else { figure.asked },
                target,
                beside: figure.beside,
            });
        }
    }

    /// A store with many keys, and how much dearer an operation is there than in a small one.
    pub fn add_keys(&mut self, small: &Measured, large: &Measured) {
        let name = |what: &str| format!("{} keys: {what}", large.keys);
        let plain = |what: &str, unit, value| Fact {
            name: name(what),
            unit,
            value,
            asked: Asked::Nothing,
            target: String::new(),
            beside: None,
        };
        let at_most = |what: &str, unit, value, bound: f64| Fact {
            name: name(what),
            unit,
            value,
            asked: self.asked(bound),
            target: format!("<= {bound}"),
            beside: None,
        };
        let beside = |what: &str, value, at_small| self.beside(name(what), value, at_small);
        let (few, many) = (&small.phase, &large.phase);
        self.facts.extend([
            at_most("memory", "MB", many.rss, 300.0),
            at_most("memory, filling", "MB", large.fill_rss, 300.0),
            at_most("open", "s", many.open, 2.0),
            beside("get", many.get, few.get),
            beside("get, pages not yet read", many.cold_get, few.cold_get),
            beside("put", many.put, few.put),
            beside("list of 100", many.list, few.list),
            plain("puts, 200 a commit", "1/s", large.fill),
            plain("disk for each", "B", large.per_key),
            plain("state for each", "B", large.state_per_key),
        ]);
    }

    /// The same through the mount: what a user waits for.
    pub fn add_mounted_keys(&mut self, keys: u64, small: &Mounted, large: &Mounted) {
        let name = |what: &str| format!("{keys} keys: mounted, {what}");
        let memory = Fact {
            name: name("memory"),
            unit: "MB",
            value: large.rss,
            asked: self.asked(300.0),
            target: "<= 300".into(),
            beside: None,
        };
        let facts = [
            memory,
            self.beside(name("create"), large.create, small.create),
            self.beside(name("stat"), large.stat, small.stat),
            self.beside(name("read"), large.read, small.read),
        ];
        self.facts.extend(facts);
    }

    /// Microseconds in a store with many keys beside those in one with 1,000.
    fn beside(&self, name: String, value: f64, at_small: f64) -> Fact {
        let target = format!("<= 1.5 x {at_small:.1} at 1000");
        Fact { name, unit: "us", value, asked: self.asked(1.5 * at_small), target, beside: None }
    }

    /// What is asked but in a quick run.
    fn asked(&self, bound: f64) -> Asked {
        if self.quick { Asked::Nothing } else { Asked::AtMost(bound) }
    }

    fn median(&self, work: &Work, place: Place) -> Option<f64> {
        median(self.values.get(&(work.name, place))?)
    }

    /// The mount's figure as a share of another place's.
    fn ratio(&self, work: &Work, of: Place) -> Option<f64> {
        Some(self.median(work, work.subject)? / self.median(work, of)?)
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
        let met: Vec<bool> = work.goals.iter().filter_map(|goal| self.meets(work, goal)).collect();
        (!met.is_empty()).then(|| met.contains(&true))
    }

    pub fn all_met(&self, works: &[Work]) -> bool {
        works.iter().all(|work| self.met(work) != Some(false))
            && self.facts.iter().all(|fact| fact.met() != Some(false))
    }

    fn fact_json(fact: &Fact) -> Value {
        json!({
            "work": fact.name,
            "unit": fact.unit,
            "value": fact.value,
            "target": fact.target,
            "met": fact.met(),
            "beside": fact.beside.map(|by| json!({"program": by.program, "value": by.value})),
        })
    }

    pub fn table(&self, works: &[Work]) -> String {
        let mut out = format!(
            "{:<34} {:>5} {:>11} {:>11} {:>11} {:>7} {:>7}  {:<24} ok\n",
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
                "{:<34} {:>5} {:>11} {:>11} {:>11} {:>7} {:>7}  {:<24} {}",
                work.name,
                work.unit.name(),
                figure(self.median(work, Place::Ext4)),
                figure(self.median(work, Place::Floor)),
                figure(self.median(work, work.subject)),
                share(self.ratio(work, Place::Ext4)),
                share(self.ratio(work, Place::Floor)),
                work.goals_text(),
                verdict(self.met(work))
            );
        }
        for fact in &self.facts {
            let _written = writeln!(
                out,
                "{:<34} {:>5} {:>11} {:>11} {:>11} {:>7} {:>7}  {:<24} {}",
                fact.name,
                fact.unit,
                "-",
                "-",
                figure(Some(fact.value)),
                "-",
                "-",
                fact.target,
                verdict(fact.met())
            );
            if let Some(Beside { program, value }) = fact.beside {
                let name = format!("  by {program}");
                let _written = writeln!(out, "{name:<34} {:>5} {:>35}", fact.unit, figure(Some(value)));
            }
        }
        out
    }

    pub fn json(&self, works: &[Work]) -> Result<String> {
        let works: Vec<Value> = works.iter().map(|work| self.work_json(work)).collect();
        let facts: Vec<Value> = self.facts.iter().map(Self::fact_json).collect();
        let uname = rustix::system::uname();
        let document = json!({
            "rounds": self.rounds,
            "quick": self.quick,
            "kernel": uname.release().to_string_lossy(),
            "cpus": std::thread::available_parallelism()?.get(),
            "works": works,
            "facts": facts,
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

fn verdict(met: Option<bool>) -> &'static str {
    match met {
        None => "",
        Some(true) => "yes",
        Some(false) => "NO",
    }
}
