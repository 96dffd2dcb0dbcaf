//! Who and what the traffic is about: ads, campaigns, users. Everything is a pure function of the seed and a number, so
//! nothing is stored, however many there are.

/// Ads of one campaign.
pub const ADS_PER_CAMPAIGN: u32 = 20;

/// Countries with their share of users, in thousandths.
pub const COUNTRIES: [(&str, u64); 20] = [
    ("US", 230),
    ("KR", 140),
    ("JP", 105),
    ("DE", 80),
    ("GB", 70),
    ("FR", 60),
    ("IN", 55),
    ("BR", 48),
    ("CA", 38),
    ("TW", 32),
    ("AU", 26),
    ("MX", 22),
    ("ES", 20),
    ("IT", 18),
    ("ID", 15),
    ("NL", 12),
    ("PL", 10),
    ("SE", 8),
    ("SG", 7),
    ("VN", 4),
];

/// Devices with their share of users, in thousandths.
pub const DEVICES: [(&str, u64); 4] = [("mobile", 620), ("desktop", 280), ("tablet", 70), ("tv", 30)];

/// The fixed facts of one generated world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    pub seed: u64,
    pub ads: u32,
    pub users: u32,
    step: u64,
}

/// What is known of an ad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ad {
    pub id: u32,
    pub campaign: u32,
    /// Clicks per million impressions.
    pub click_rate_ppm: u32,
    /// Conversions per million clicks.
    pub conversion_rate_ppm: u32,
    /// What its campaign pays for.
    pub pays: Pays,
    /// Typical price of a click; what a conversion is worth goes with it, whatever the campaign pays for.
    pub click_price_micros: i64,
}

/// What a campaign is charged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pays {
    PerClick,
    PerImpression,
}

/// What is known of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    pub id: u32,
    /// An address in 10.0.0.0/8, which nobody owns.
    pub address: u32,
    pub country: &'static str,
    pub device: &'static str,
}

impl World {
    /// At least one ad and one user.
    pub fn new(seed: u64, ads: u32, users: u32) -> Self {
        let (ads, users) = (ads.max(1), users.max(1));
        let first = mix(seed, 1) % u64::from(ads);
        let step = (first..).find(|step| gcd(*step, u64::from(ads)) == 1).unwrap_or(1);
        Self { seed, ads, users, step }
    }

    pub fn campaigns(&self) -> u32 {
        self.ads.div_ceil(ADS_PER_CAMPAIGN)
    }

    /// The ad of a popularity rank (1 is the most popular): popular ads are spread over ids and campaigns.
    pub fn ad_of_rank(&self, rank: u32) -> Ad {
        let id = u64::from(rank) * self.step % u64::from(self.ads);
        self.ad(id as u32)
    }

    pub fn ad(&self, id: u32) -> Ad {
        let bits = mix(self.seed, 0x0ad0_0000_0000 | u64::from(id));
        let squared = (bits >> 40) % 1_000 * ((bits >> 40) % 1_000);
        let campaign = id / ADS_PER_CAMPAIGN;
        let by_impression = self.campaign_bits(campaign) % 10 < 3;
        Ad {
            id,
            campaign,
            pays: if by_impression { Pays::PerImpression } else { Pays::PerClick },
            click_rate_ppm: 10_000 + (bits % 80_000) as u32,
            conversion_rate_ppm: 20_000 + (bits >> 20) as u32 % 100_000,
            click_price_micros: 50_000 + squared as i64 * 2,
        }
    }

    /// Random bits of a campaign.
    pub fn campaign_bits(&self, campaign: u32) -> u64 {
        mix(self.seed, 0x0ca3_0000_0000_0000 | u64::from(campaign))
    }

    pub fn user(&self, id: u32) -> User {
        let bits = mix(self.seed, 0x0005_e400_0000_0000 | u64::from(id));
        User {
            id,
            address: (10 << 24) | (bits >> 40) as u32,
            country: pick(&COUNTRIES, bits % 1_000),
            device: pick(&DEVICES, (bits >> 10) % 1_000),
        }
    }
}

fn pick<const N: usize>(shares: &[(&'static str, u64); N], thousandth: u64) -> &'static str {
    let mut sum = 0;
    let found = shares.iter().find(|(_, share)| {
        sum += share;
        thousandth < sum
    });
    found.unwrap_or(&shares[N - 1]).0
}

/// Well-mixed bits of two numbers (the finalizer of SplitMix64, Steele et al. 2014).
fn mix(seed: u64, number: u64) -> u64 {
    let mut bits = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn ranks_and_ads_are_one_to_one() {
        for ads in [1, 2, 10, 997, 1_000] {
            let world = World::new(3, ads, 1);
            let ids: BTreeSet<u32> = (1..=ads).map(|rank| world.ad_of_rank(rank).id).collect();
            assert_eq!(ids.len(), ads as usize, "{ads}");
            assert!(ids.iter().all(|id| *id < ads));
        }
    }

    #[test]
    fn countries_have_their_shares() {
        assert_eq!(COUNTRIES.iter().map(|(_, share)| share).sum::<u64>(), 1_000);
        assert_eq!(DEVICES.iter().map(|(_, share)| share).sum::<u64>(), 1_000);
        let world = World::new(1, 1, 100_000);
        let mut seen = BTreeMap::new();
        (0..100_000).for_each(|id| *seen.entry(world.user(id).country).or_insert(0u64) += 1);
        for (country, share) in COUNTRIES {
            assert!(seen[country].abs_diff(share * 100) < 30 + share * 10, "{country}: {}", seen[country]);
        }
    }

    #[test]
    fn a_seed_is_a_world() {
        assert_eq!(World::new(1, 100, 100).ad(7), World::new(1, 100, 100).ad(7));
        assert_ne!(World::new(1, 100, 100).ad(7), World::new(2, 100, 100).ad(7));
    }
}
