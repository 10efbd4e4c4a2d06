//! A short run of every target on stable Rust: the seeds of `corpus/`, changed again and again. A failure prints the seed
//! of the run and leaves the input in `artifacts/`.
//!
//! Usage: cargo run --release --bin short [-- SECONDS_EACH [TARGET]]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kafka_fuzz::TARGETS;

/// The longest input, in bytes.
const INPUT_MAX: usize = 64 << 10;
/// Changes to one input, at most.
const CHANGES_MAX: u64 = 6;

fn main() {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().map_or(5, |text| text.parse().expect("a number of seconds"));
    let only = args.next();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let seed = u64::from(since_epoch.subsec_nanos()) | 1;
    for (name, target) in TARGETS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let corpus = corpus(name);
        let (mut chance, end, mut runs) = (Chance(seed), Instant::now() + Duration::from_secs(seconds), 0_u64);
        while Instant::now() < end || runs < corpus.len() as u64 {
            let input = match corpus.get(usize::try_from(runs).unwrap_or(usize::MAX)) {
                Some(seed) => seed.clone(),
                None => changed(&corpus, &mut chance),
            };
            if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
                let kept = keep(name, &input);
                eprintln!("{name} fails in run {runs} of seed {seed}; the input is {}", kept.display());
                std::process::exit(1);
            }
            runs += 1;
        }
        println!("{name}: {runs} inputs from {} seeds, none fails", corpus.len());
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.iter().map(|path| fs::read(path).expect("a seed")).collect()
}

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts").join(name);
    fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("failure");
    fs::write(&path, input).expect("written");
    path
}

/// `SplitMix64`.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % (bound.max(1) as u64)).expect("below a usize")
    }
}

fn changed(corpus: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut input = corpus[chance.below(corpus.len())].clone();
    for _ in 0..=chance.next() % CHANGES_MAX {
        change(&mut input, corpus, chance);
    }
    input.truncate(INPUT_MAX);
    input
}

/// One change: a flipped bit, another byte, a number at the edge, a cut, a doubled part, a part of another seed.
fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], chance: &mut Chance) {
    const EDGES: [i64; 10] =
        [-1, 0, 1, 127, 128, 0x7fff, 0x7fff_ffff, -0x8000_0000, 0x7fff_ffff_ffff_ffff, i64::MIN];
    let (at, to) = (chance.below(input.len() + 1), chance.below(input.len() + 1));
    let (from, to) = (at.min(to), at.max(to));
    match chance.next() % 7 {
        0 if at < input.len() => input[at] ^= 1 << (chance.next() % 8),
        1 if at < input.len() => input[at] = chance.next().to_le_bytes()[0],
        2 | 3 => {
            let width = [1, 2, 4, 8][chance.below(4)];
            let edge = EDGES[chance.below(EDGES.len())].to_be_bytes();
            for (place, byte) in input.iter_mut().skip(at).zip(&edge[8 - width..]) {
                *place = *byte;
            }
        }
        4 => drop(input.drain(from..to)),
        5 => {
            let part = input[from..to].to_vec();
            input.splice(at..at, part);
        }
        _ => {
            let other = &corpus[chance.below(corpus.len())];
            let start = chance.below(other.len() + 1);
            let part: Vec<u8> = other[start..].iter().take(chance.below(64)).copied().collect();
            input.splice(at..at, part);
        }
    }
}
