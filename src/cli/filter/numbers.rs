//! Numbers that are more than memory should hold: kept in a file without a name, with exact order statistics of them.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, Write},
};

/// Bits of a number that one look at all numbers decides on.
const BITS: u32 = 16;

/// Numbers, in the order in which they were added.
pub(super) struct Numbers {
    file: BufWriter<File>,
    count: u64,
}

impl Numbers {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(tempfile::tempfile()?),
            count: 0,
        })
    }

    /// Adds a finite number.
    pub(super) fn add(&mut self, number: f64) -> io::Result<()> {
        self.count += 1;
        self.file.write_all(&key(number).to_le_bytes())
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The numbers, one after another.
    pub(super) fn iter(&mut self) -> io::Result<impl Iterator<Item = io::Result<f64>>> {
        Ok(self.keys()?.map(|key| key.map(number)))
    }

    fn keys(&mut self) -> io::Result<Keys> {
        self.file.flush()?;
        let mut file = self.file.get_ref().try_clone()?;
        file.rewind()?;
        Ok(Keys {
            file: BufReader::new(file),
            left: self.count,
        })
    }

    /// How many numbers are such.
    pub(super) fn count_of(&mut self, is_such: impl Fn(f64) -> bool) -> io::Result<u64> {
        let mut count = 0;
        for number in self.iter()? {
            count += u64::from(is_such(number?));
        }
        Ok(count)
    }

    /// The numbers of these ranks, of which 0 is the lowest's, and each is below the count. Four looks at all numbers
    /// narrow each of them down, 16 bits at a time; memory is half a MiB for each rank.
    pub(super) fn of_ranks(&mut self, ranks: &[u64]) -> io::Result<Vec<f64>> {
        // What is known of each number from the top, and its rank among those that begin so.
        let mut found: Vec<(u64, u64)> = ranks.iter().map(|&rank| (0, rank)).collect();
        for step in 1..=u64::BITS / BITS {
            let shift = u64::BITS - step * BITS;
            let mut counts: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            for (known, _) in &found {
                counts.entry(*known).or_insert_with(|| vec![0; 1 << BITS]);
            }
            for key in self.keys()? {
                let beginning = key? >> shift;
                if let Some(counts) = counts.get_mut(&(beginning >> BITS)) {
                    counts[(beginning & ((1 << BITS) - 1)) as usize] += 1;
                }
            }
            for (known, rank) in &mut found {
                let mut next = 0;
                for (digit, &count) in (0..).zip(&counts[known]) {
                    next = digit;
                    if *rank < count {
                        break;
                    }
                    *rank -= count;
                }
                *known = (*known << BITS) | next;
            }
        }
        Ok(found.into_iter().map(|(key, _)| number(key)).collect())
    }

    /// Percentiles, as `numpy.percentile` gives them (method `linear`), from 0 to 100; none of no numbers.
    pub(super) fn percentiles(&mut self, percents: &[f64]) -> io::Result<Vec<f64>> {
        let Some(last) = self.count.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let places = percents
            .iter()
            .map(|percent| last as f64 * (percent / 100.0));
        let places: Vec<f64> = places.collect();
        let between = |place: &f64| {
            let below = (place.floor() as u64).min(last);
            [below, (below + 1).min(last)]
        };
        let ranks: Vec<u64> = places.iter().flat_map(between).collect();
        let numbers = self.of_ranks(&ranks)?;
        let both = numbers.chunks_exact(2).zip(&places);
        let one = |(both, place): (&[f64], &f64)| interpolated(both[0], both[1], place.fract());
        Ok(both.map(one).collect())
    }
}

/// As numpy does it, to the last bit: from the nearer one.
fn interpolated(below: f64, above: f64, share: f64) -> f64 {
    let apart = above - below;
    match share >= 0.5 {
        true => above - apart * (1.0 - share),
        false => below + apart * share,
    }
}

struct Keys {
    file: BufReader<File>,
    left: u64,
}

impl Iterator for Keys {
    type Item = io::Result<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut bytes = [0; 8];
        let read = self.file.read_exact(&mut bytes);
        Some(read.map(|()| u64::from_le_bytes(bytes)))
    }
}

/// Bits that are in the order of the numbers. The two zeros are one number.
pub(super) fn key(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    match bits >> 63 {
        0 => bits | 1 << 63,
        _ => !bits,
    }
}

fn number(key: u64) -> f64 {
    f64::from_bits(match key >> 63 {
        0 => !key,
        _ => key & !(1 << 63),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(all: &[f64]) -> Numbers {
        let mut numbers = Numbers::new().unwrap();
        all.iter().for_each(|&one| numbers.add(one).unwrap());
        numbers
    }

    #[test]
    fn ranks_are_those_of_sorted_numbers() {
        let mut state = 1_u64;
        let mut all: Vec<f64> = (0..3000)
            .map(|index| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                match index % 3 {
                    // Of all sizes and signs, close together, and equal.
                    0 => f64::from_bits(state),
                    1 => 1.0 + (state >> 40) as f64 * f64::EPSILON,
                    _ => ((state >> 60) as f64) - 8.0,
                }
            })
            .filter(|number| number.is_finite())
            .collect();
        all.extend([0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -5e-324]);
        let mut numbers = of(&all);
        assert_eq!(numbers.count(), all.len() as u64);
        let again: Vec<f64> = numbers.iter().unwrap().map(|one| one.unwrap()).collect();
        assert_eq!(again, all);
        all.sort_by(f64::total_cmp);
        for ranks in (0..all.len() as u64).collect::<Vec<_>>().chunks(100) {
            let found = numbers.of_ranks(ranks).unwrap();
            let expected: Vec<f64> = ranks.iter().map(|&rank| all[rank as usize]).collect();
            assert_eq!(found, expected);
        }
        assert_eq!(numbers.count_of(|one| one < 0.0).unwrap(), {
            all.iter().filter(|one| **one < 0.0).count() as u64
        });
    }

    #[test]
    fn percentiles_are_numpys() {
        // [float(one) for one in numpy.percentile(all, percents)], numpy 2.4.6
        let all = [0.1, -2.5, 3.7, 3.7, 1e-3, 12.25, -0.7];
        let percents = [0.0, 1.0, 10.0, 33.3, 50.0, 66.6, 90.0, 99.9, 100.0];
        let expected = [
            -2.5,
            -2.392,
            -1.42,
            -0.0004020000000001568,
            0.1,
            3.6855999999999987,
            7.120000000000004,
            12.198700000000006,
            12.25,
        ];
        assert_eq!(of(&all).percentiles(&percents).unwrap(), expected);
        assert_eq!(
            of(&[2.0]).percentiles(&[0.0, 37.0, 100.0]).unwrap(),
            [2.0; 3]
        );
        assert!(of(&[]).percentiles(&[50.0]).unwrap().is_empty());
    }
}
