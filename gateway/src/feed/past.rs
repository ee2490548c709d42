//! What is stored in the streams, read past every failure.

use futures::stream::{self, BoxStream, StreamExt as _};
use taskq::Client;
use taskq::admin::{self, Record, Source};

use super::batch::Item;
use super::place::Place;
use super::{PAUSE, SOURCES};

/// The most records that are read ahead together.
const TOGETHER: usize = 128;

/// What is stored behind a place, which is moved to where it can be. It ends.
pub(super) async fn past(
    client: &Client,
    place: &mut Place,
) -> taskq::Result<BoxStream<'static, Vec<Item>>> {
    let mut past = stream::empty().boxed();
    for source in SOURCES {
        let extent = admin::extent(client, source).await?;
        let mut after = place.of(source);
        if after > extent.last {
            // A place in a stream that is gone: all of this one is new.
            after = 0;
            place.set(source, 0);
        }
        // Whether there is anything: else its reading would not end.
        let records = admin::records(client, source, after).await?;
        if records.stored() > 0 {
            past = past.chain(stored(client.clone(), source, after)).boxed();
        }
    }
    Ok(past.ready_chunks(TOGETHER).boxed())
}

/// What was stored in a source when the reading began; it ends.
fn stored(client: Client, source: Source, after: u64) -> BoxStream<'static, Item> {
    let records = lasting(client, source, after);
    stream::unfold(Some(records), |records| async move {
        let mut records = records?;
        let (source, record) = records.next().await?;
        let more = record.left > 0;
        Some((Item::of(source, &record), more.then_some(records)))
    })
    .boxed()
}

/// The records of a source, past every failure.
pub(super) fn lasting(
    client: Client,
    source: Source,
    after: u64,
) -> BoxStream<'static, (Source, Record)> {
    type Reading = Option<admin::Records>;
    stream::unfold(
        (None, after),
        move |(reading, mut after): (Reading, u64)| {
            let client = client.clone();
            async move {
                let mut reading = reading;
                loop {
                    let mut records = match reading.take() {
                        Some(records) => records,
                        None => match admin::records(&client, source, after).await {
                            Ok(records) => records,
                            Err(error) => {
                                tracing::warn!("events are not told now: {error}");
                                tokio::time::sleep(PAUSE).await;
                                continue;
                            }
                        },
                    };
                    match records.next().await {
                        Some(Ok(record)) => {
                            after = record.sequence;
                            return Some(((source, record), (Some(records), after)));
                        }
                        Some(Err(error)) => tracing::warn!("events are not told now: {error}"),
                        None => {}
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        },
    )
    .boxed()
}
