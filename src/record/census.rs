//! Writes what the census has counted into the file as the process ends.

use epollshim_format::recording::census::{self, row};
use epollshim_format::recording::kind;

use super::file::{State, word};
use crate::census::{Census, places};
use crate::sigsafe::on_own_stack;

pub fn write() {
    if !crate::census::is_on() {
        return;
    }
    // The report looks for what was created and closed where no hook saw it. It comes after this.
    on_own_stack(crate::census::reconcile);
    let (Some(census), Some(state)) = (Census::of_now(), State::of_this_process()) else { return };
    // Places that are first used from here on are missed.
    let rows = places::all().count();
    state.segment(kind::CENSUS, census::FIRST + rows * row::SIZE, 0, None, |start| {
        // SAFETY: words of the segment, which was mapped just now, as long as they need.
        let set = |place: usize, value: u64| unsafe { word(start, place).store(value, crate::sync::Ordering::Relaxed) };
        let totals = [
            (census::LIVE, census.live),
            (census::PEAK, census.peak),
            (census::BORN, census.born),
            (census::CLOSED, census.closed),
            (census::AT_START, census.at_start),
            (census::HEALED, census.corrected),
        ];
        totals.into_iter().for_each(|(place, value)| set(place, value));
        let mut written = 0;
        for (_, place) in places::all().take(rows) {
            let at = census::FIRST + written * row::SIZE;
            let values = [
                (row::SITE, place.site() as u64),
                (row::KIND, place.kind() as u64),
                (row::LIVE, place.live()),
                (row::PEAK, place.peak()),
                (row::BORN, if place.site() == 0 { 0 } else { place.born() }),
                (row::CLOSED, place.closed()),
            ];
            values.into_iter().for_each(|(field, value)| set(at + field, value));
            written += 1;
        }
        set(census::ROWS, written as u64);
    });
}
