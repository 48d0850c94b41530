//! Flags, and which of them were typed. What the environment says holds for a daemon that is started; what is typed is
//! wanted now, of the daemon that runs, too.

use std::ops::Deref;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// `T`, and the names of those of its flags that stood on the command line.
#[derive(Debug, Clone, Default)]
pub struct Typed<T> {
    args: T,
    typed: Vec<String>,
}

impl<T> Typed<T> {
    /// The long names, without their dashes.
    pub fn typed(&self) -> &[String] {
        &self.typed
    }
}

impl<T> Deref for Typed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.args
    }
}

impl<T: Args> Args for Typed<T> {
    fn group_id() -> Option<clap::Id> {
        T::group_id()
    }

    fn augment_args(cmd: Command) -> Command {
        T::augment_args(cmd)
    }

    fn augment_args_for_update(cmd: Command) -> Command {
        T::augment_args_for_update(cmd)
    }
}

impl<T: Args> FromArgMatches for Typed<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self { typed: typed::<T>(matches), args: T::from_arg_matches(matches)? })
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        // Before: it takes the values out.
        Ok(Self { typed: typed::<T>(matches), args: T::from_arg_matches_mut(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.typed = typed::<T>(matches);
        self.args.update_from_arg_matches(matches)
    }
}

fn typed<T: Args>(matches: &ArgMatches) -> Vec<String> {
    let flags = T::augment_args(Command::new("flags"));
    let given =
        |arg: &&clap::Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    flags.get_arguments().filter(given).filter_map(|arg| arg.get_long().map(str::to_owned)).collect()
}
