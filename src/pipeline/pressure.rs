//! Back-pressure: when partitions are paused and when they are resumed. Pure.

/// How much waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// Batches that are being decided.
    pub(crate) batches: usize,
    /// Their decoded bytes.
    pub(crate) batch_bytes: usize,
    /// Matched records that wait for their turn.
    pub(crate) jobs: usize,
    /// Their bytes.
    pub(crate) job_bytes: usize,
    /// Records of one partition that wait behind an unfinished one.
    pub(crate) open: usize,
}

/// Above this partitions are paused; below half of it they are resumed.
const HIGH: Load = Load { batches: 8, batch_bytes: 4 << 20, jobs: 1024, job_bytes: 8 << 20, open: 8192 };

/// Whether records flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    Open,
    Paused,
}

impl Flow {
    /// What follows from a load.
    pub(crate) fn under(self, load: &Load) -> Self {
        match self {
            Self::Open if load.exceeds(1) => Self::Paused,
            Self::Paused if !load.exceeds(2) => Self::Open,
            same => same,
        }
    }
}

impl Load {
    fn exceeds(&self, of: usize) -> bool {
        let over = |is: usize, most: usize| is > most / of;
        over(self.batches, HIGH.batches)
            || over(self.batch_bytes, HIGH.batch_bytes)
            || over(self.jobs, HIGH.jobs)
            || over(self.job_bytes, HIGH.job_bytes)
            || over(self.open, HIGH.open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_resumed_well_below_the_mark_at_which_they_were_paused() {
        let load = |jobs| Load { jobs, ..Load::default() };
        assert_eq!(Flow::Open.under(&load(1024)), Flow::Open);
        assert_eq!(Flow::Open.under(&load(1025)), Flow::Paused);
        assert_eq!(Flow::Paused.under(&load(513)), Flow::Paused);
        assert_eq!(Flow::Paused.under(&load(512)), Flow::Open);
    }
}
