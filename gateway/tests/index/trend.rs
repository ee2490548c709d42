//! How tasks went over a time.

use std::time::Duration;

use taskq::Timestamp;
use taskq_gateway::index::{Trend, TrendQuery};

use crate::stores::stores;

#[tokio::test]
async fn a_trend_counts_each_end_in_its_part_of_time_and_tells_how_long_tasks_took() {
    for store in stores().await {
        let index = store.filled(100).await;
        let begin = Timestamp::from_millis(1_700_000_000_000);
        let query = TrendQuery {
            since: begin,
            step: Duration::from_millis(50),
            task: None,
            queue: None,
        };
        let trend = index.trend(query.clone()).await.unwrap();
        let count = |trend: &Trend, state| -> u64 {
            let parts = trend.ended.values();
            parts.filter_map(|part| part.get(state)).sum()
        };
        // They ended 3 to 102 ms after the beginning.
        assert_eq!(trend.ended.len(), 3, "{store:?}");
        assert_eq!(count(&trend, "succeeded"), 80);
        assert_eq!(count(&trend, "failed"), 20);
        assert_eq!(trend.timed.len(), 100);
        assert!(trend.timed.iter().all(|one| one.waited == 0.001));
        assert!(trend.timed.iter().all(|one| one.ran == 0.25));

        let of = TrendQuery {
            task: Some("name_0".to_owned()),
            queue: Some("email".to_owned()),
            ..query.clone()
        };
        let trend = index.trend(of).await.unwrap();
        assert_eq!(count(&trend, "succeeded") + count(&trend, "failed"), 8);
        let later = TrendQuery {
            since: Timestamp::from_millis(begin.as_millis() + 93),
            ..query
        };
        let trend = index.trend(later).await.unwrap();
        assert_eq!(count(&trend, "succeeded") + count(&trend, "failed"), 10);

        let types = index.types_since(begin).await.unwrap();
        assert_eq!(types.len(), 4, "{store:?}");
        assert!(types.iter().all(|one| one.ended == 25 && one.failed == 5));
    }
}
