//! What a person sees while the stack starts.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Prints to standard output; quiet inside tests.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    quiet: bool,
    since: Instant,
}

impl Progress {
    pub fn new(quiet: bool) -> Self {
        Self { quiet, since: Instant::now() }
    }

    pub fn line(&self, text: &str) {
        if !self.quiet {
            println!("[{:6.1} s] {text}", self.since.elapsed().as_secs_f32());
        }
    }

    /// A bar that redraws itself on a terminal; elsewhere one line per tenth.
    pub fn bar(&self, label: &str, total: u64) -> Bar {
        Bar { progress: *self, label: label.to_owned(), total, tenth: 0, terminal: std::io::stdout().is_terminal() }
    }
}

#[derive(Debug)]
pub struct Bar {
    progress: Progress,
    label: String,
    total: u64,
    tenth: u64,
    terminal: bool,
}

const BAR_WIDTH: u64 = 40;

impl Bar {
    pub fn set(&mut self, done: u64) {
        if self.progress.quiet || self.total == 0 {
            return;
        }
        let done = done.min(self.total);
        if self.terminal {
            let filled = done * BAR_WIDTH / self.total;
            let bar: String = (0..BAR_WIDTH).map(|i| if i < filled { '█' } else { '░' }).collect();
            print!("\r  {} {bar} {done}/{}", self.label, self.total);
            if done == self.total {
                println!();
            }
            let _ = std::io::stdout().flush();
        } else if done * 10 / self.total > self.tenth {
            self.tenth = done * 10 / self.total;
            self.progress.line(&format!("{} {done}/{}", self.label, self.total));
        }
    }
}
