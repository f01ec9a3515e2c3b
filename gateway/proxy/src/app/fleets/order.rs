//! In which order a request tries an agent's servers.
//!
//! Requests of one call go to one server as long as it is there, since an agent may keep in memory what it knows of a
//! call: the SDKs' own tokens, for one. Which server that is follows from the call and the servers' names alone (weighted
//! rendezvous hashing), so several gateways agree, and when a server goes, no other server's calls move. So that none moves
//! when one comes either, `homes.rs` remembers who made a call's document. A request that belongs nowhere goes to the
//! server with the least to do.

/// A server that may be asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    /// The digest of its name, see [`digest`].
    pub(super) digest: u64,
    /// See `Server::weight`.
    pub(super) weight: u32,
    /// How many requests are under way at it.
    pub(super) in_flight: usize,
}

/// Where a request belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Home {
    /// With all others of this number.
    At(u64),
    /// Nowhere; the number is another one for each request.
    Anywhere(u64),
}

/// The places of the candidates, the one to ask first at the front.
pub(super) fn order(candidates: &[Candidate], home: Home) -> Vec<usize> {
    let mut places: Vec<usize> = (0..candidates.len()).collect();
    let at = |place: usize| candidates.get(place).copied();
    let drawn =
        |place, number| at(place).map_or(0.0, |candidate: Candidate| score(candidate.digest, candidate.weight, number));
    let load = |place| at(place).map_or(f64::MAX, |it: Candidate| (it.in_flight + 1) as f64 / f64::from(it.weight));
    match home {
        Home::At(number) => places.sort_by(|a, b| drawn(*b, number).total_cmp(&drawn(*a, number))),
        Home::Anywhere(number) => places.sort_by(|a, b| {
            load(*a).total_cmp(&load(*b)).then_with(|| drawn(*b, number).total_cmp(&drawn(*a, number)))
        }),
    }
    places
}

/// What a server draws for a number: the highest wins, each as often as its weight says.
pub(crate) fn score(digest: u64, weight: u32, number: u64) -> f64 {
    const UNIT: f64 = (1_u64 << 53) as f64;
    let drawn = ((mixed(digest ^ mixed(number)) >> 11) as f64 + 0.5) / UNIT;
    -f64::from(weight) / drawn.ln()
}

/// A name's digest, the same on all machines and in all versions: FNV-1a.
pub(crate) fn digest(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |digest: u64, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Each bit of the result depends on each bit of the number: the last step of SplitMix64.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(weights: &[u32]) -> Vec<Candidate> {
        let named = weights.iter().enumerate();
        let named = named.map(|(place, weight)| (digest(&format!("10.0.0.{place}:3000")), *weight));
        named.map(|(digest, weight)| Candidate { digest, weight, in_flight: 0 }).collect()
    }

    fn first(candidates: &[Candidate], home: Home) -> usize {
        order(candidates, home)[0]
    }

    #[test]
    fn calls_are_spread_as_the_weights_say() {
        let candidates = candidates(&[1, 1, 2]);
        let mut counts = [0; 3];
        (0..8000).for_each(|call| counts[first(&candidates, Home::At(call))] += 1);
        for (count, wanted) in counts.into_iter().zip([2000, 2000, 4000]) {
            assert!((wanted - 200..wanted + 200).contains(&count), "{counts:?}");
        }
    }

    #[test]
    fn a_call_stays_where_it_is_whatever_the_load_and_whoever_leaves() {
        let all = candidates(&[1; 4]);
        let busy: Vec<_> = all.iter().map(|it| Candidate { in_flight: 100, ..*it }).collect();
        let fewer = [all[0], all[1], all[3]];
        let mut moved = 0;
        for call in 0..1000 {
            let places = order(&all, Home::At(call));
            assert_eq!(places[0], first(&busy, Home::At(call)));
            let now = [0, 1, 3][first(&fewer, Home::At(call))];
            if places[0] == 2 {
                moved += 1;
                assert_eq!(now, places[1], "it goes where it would have been tried next");
            } else {
                assert_eq!(now, places[0]);
            }
        }
        assert!((200..300).contains(&moved), "{moved}");
    }

    #[test]
    fn what_belongs_nowhere_goes_to_the_least_busy_for_its_weight() {
        let mut candidates = candidates(&[1, 1, 4]);
        (candidates[0].in_flight, candidates[1].in_flight, candidates[2].in_flight) = (3, 2, 7);
        assert_eq!(order(&candidates, Home::Anywhere(1)), [2, 1, 0]);
        let idle = self::candidates(&[1, 1]);
        let firsts: Vec<_> = (0..100).map(|number| first(&idle, Home::Anywhere(number))).collect();
        assert!(firsts.contains(&0) && firsts.contains(&1), "equals take turns");
    }
}
