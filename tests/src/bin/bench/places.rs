//! The places that are compared, mounted for the whole run.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;
use lattice_tests::fixture::{Kind, MountOptions, Mounted, Scratch};

/// Where work is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Place {
    Ext4,
    Floor,
    Lattice,
    /// Lattice without passthrough.
    Plain,
}

impl Place {
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Floor, Self::Lattice, Self::Plain];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Floor => "floor",
            Self::Lattice => "lattice",
            Self::Plain => "plain",
        }
    }
}

/// All that is mounted, and room for inputs beside it.
#[derive(Debug)]
pub struct Places {
    mounted: Vec<(Place, Mounted)>,
    scratch: Scratch,
}

impl Places {
    pub fn mount(on: &[Place], threads: usize) -> Result<Self> {
        let mut mounted = Vec::new();
        for place in on {
            let mut options = MountOptions::default();
            let kind = match place {
                Place::Ext4 => Kind::Plain,
                Place::Floor => {
                    options.args = vec!["--threads".into(), threads.to_string()];
                    Kind::Floor
                }
                Place::Lattice => Kind::Lattice,
                Place::Plain => {
                    options.args = vec!["--no-passthrough".into()];
                    Kind::Lattice
                }
            };
            mounted.push((*place, Mounted::with(kind, options)?));
        }
        Ok(Self { mounted, scratch: Scratch::new()? })
    }

    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// An empty directory for one measurement.
    pub fn fresh(&self, place: Place, round: usize, work: &str) -> Result<PathBuf> {
        let at = self.mounted.iter().find(|(p, _)| *p == place);
        let (_, mounted) = at.ok_or_else(|| anyhow::anyhow!("{} isn't mounted", place.name()))?;
        let name: String = work.chars().filter(char::is_ascii_alphanumeric).collect();
        let dir = mounted.join(&format!("{name}-{round}"));
        fs::create_dir(&dir)?;
        // What other measurements left to be written must not be paid by this one.
        rustix::fs::sync();
        Ok(dir)
    }

    pub fn stop(&mut self) -> Result<()> {
        for (_, mounted) in &mut self.mounted {
            mounted.stop()?;
        }
        Ok(())
    }
}
