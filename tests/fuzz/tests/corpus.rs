//! Every input that was kept, once more, and a few thousand of its mutations.

use velvet_fuzz::mutate::{Numbers, input};
use velvet_fuzz::{TARGETS, corpus};

/// Enough to notice a target that breaks at once; `dev/fuzz` looks for longer.
const MUTATIONS: usize = 2_000;

#[test]
fn no_kept_input_breaks_its_target() {
    for target in TARGETS {
        let inputs = corpus::read(target.name).unwrap();
        assert!(inputs.len() >= 5, "{} has too few inputs", target.name);
        for (name, input) in inputs {
            println!("{}/{name}", target.name);
            (target.run)(&input);
        }
    }
}

#[test]
fn no_small_change_of_a_kept_input_breaks_its_target() {
    for target in TARGETS {
        let inputs: Vec<_> = corpus::read(target.name).unwrap().into_iter().map(|(_, input)| input).collect();
        let mut numbers = Numbers::new(1);
        for _ in 0..MUTATIONS {
            (target.run)(&input(&mut numbers, &inputs, target.words));
        }
    }
}
